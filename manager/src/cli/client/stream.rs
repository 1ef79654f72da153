//! Server-sent events (the HTML standard, section 9.2), from one manager or the next.

use std::time::Duration;

use axum::http::{Method, header};

use super::{Ask, Client, ClientError, api, next_piece};

/// Before a stream that broke is begun anew.
const PAUSE: Duration = Duration::from_secs(1);

/// An event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::cli) struct Told {
    /// Where to go on after it.
    pub(in crate::cli) id: String,
    /// It, in JSON.
    pub(in crate::cli) data: String,
}

/// Gives every event of the stream at `path` behind `after` to `each`, in order and each once, until that fails or the
/// request is refused. A stream that breaks is begun anew where it was, at the next server if need be.
pub(in crate::cli) async fn follow(
    client: &Client,
    path: &str,
    mut after: Option<String>,
    mut each: impl FnMut(&Told) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut has_begun = false;
    loop {
        let mut ask = Ask::new(Method::GET, &api(path)).with(header::ACCEPT, "text/event-stream");
        if let Some(after) = &after {
            ask = ask.with(header::HeaderName::from_static("last-event-id"), after);
        }
        match client.open(&ask).await {
            Ok(response) => {
                has_begun = true;
                let (mut body, mut lines) = (response.into_body(), Lines::default());
                while let Ok(Some(piece)) = next_piece(&mut body).await {
                    for told in lines.push(&piece) {
                        each(&told)?;
                        after = Some(told.id);
                    }
                }
            }
            // What can't be helped by waiting.
            Err(error @ (ClientError::Refused(_) | ClientError::Nonsense)) => return Err(error.into()),
            Err(error) if !has_begun => return Err(error.into()),
            Err(_) => {}
        }
        crate::cli::output::warn("festoon-manager: the stream of events was interrupted; connecting again in a second");
        tokio::time::sleep(PAUSE).await;
    }
}

/// A stream, cut into events.
#[derive(Debug, Default)]
struct Lines {
    rest: Vec<u8>,
    next: Told,
}

impl Lines {
    /// What is complete with these bytes.
    fn push(&mut self, bytes: &[u8]) -> Vec<Told> {
        self.rest.extend_from_slice(bytes);
        let mut told = Vec::new();
        while let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            told.extend(self.line(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n'])));
        }
        told
    }

    fn line(&mut self, line: &str) -> Option<Told> {
        if line.is_empty() {
            let next = std::mem::take(&mut self.next);
            // An empty one is what keeps the connection alive.
            return (!next.data.is_empty()).then_some(next);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => value.clone_into(&mut self.next.id),
            "data" if self.next.data.is_empty() => value.clone_into(&mut self.next.data),
            "data" => self.next.data = format!("{}\n{value}", self.next.data),
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &[u8] = b": hello\n\nid: m1.2\nevent: endpoint.up\ndata: {\"a\":1}\n\n:\n\nid: m1.3\r\ndata:x\r\ndata: y\r\n\r\nid: m1.4\ndata: not yet";

    fn expected() -> Vec<Told> {
        let told = |id: &str, data: &str| Told { id: id.to_owned(), data: data.to_owned() };
        vec![told("m1.2", "{\"a\":1}"), told("m1.3", "x\ny")]
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_a_stream_is_cut(size in 1_usize..40) {
            let mut lines = Lines::default();
            let told: Vec<Told> = TEXT.chunks(size).flat_map(|piece| lines.push(piece)).collect();
            prop_assert_eq!(told, expected());
        }
    }
}
