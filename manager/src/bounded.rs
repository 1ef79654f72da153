//! Reading the answers of others, no further than an answer goes.

use reqwest::Response;

/// What may be wrong is said in less.
pub(crate) const MAX_REFUSAL: usize = 64 * 1024;

/// An answer is not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// It breaks off.
    #[error(transparent)]
    Broken(#[from] reqwest::Error),
    /// There is more of it than there should be.
    #[error("the answer has more than {0} bytes: see that this is a manager of Festoon, of the same version")]
    TooLong(usize),
}

/// The body of an answer, of `most` bytes at most. Nothing is read of one that says that it is longer.
pub(crate) async fn read(mut response: Response, most: usize) -> Result<Vec<u8>, ReadError> {
    let announced = response.content_length().unwrap_or_default();
    if !usize::try_from(announced).is_ok_and(|announced| announced <= most) {
        return Err(ReadError::TooLong(most));
    }
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await? {
        if body.len() + part.len() > most {
            return Err(ReadError::TooLong(most));
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "no manager serves these")]
    async fn answer(path: &str) -> Response {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let endless = || async {
            Body::from_stream(futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![0_u8; 1000])))
        };
        let routes = Router::new().route("/short", get(|| async { "four" })).route("/endless", get(endless));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let tls = crate::pki::client_config(&[], None).unwrap();
        let client = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build().unwrap();
        client.get(format!("http://{at}{path}")).send().await.unwrap()
    }

    #[tokio::test]
    async fn an_answer_that_does_not_end_is_read_no_further_than_it_may_go() {
        assert_eq!(read(answer("/short").await, 4).await.unwrap(), b"four");
        assert!(matches!(read(answer("/short").await, 3).await, Err(ReadError::TooLong(3))));
        assert!(matches!(read(answer("/endless").await, 100_000).await, Err(ReadError::TooLong(100_000))));
    }
}
