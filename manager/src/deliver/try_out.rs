//! The test button: one event that is sent at once, by the manager that was asked, beside the stream.

use std::time::Duration;

use festoon_control::registry::EventDestination;
use festoon_events::{Details, Kind};

use super::Deliveries;
use super::message::Message;
use super::sender::{BadDestination, Sent};
use crate::cluster::unix_now;
use crate::events::http::EventView;

/// How long it may take: less than a request to the API may, so that whoever asks is told.
const LIMIT: Duration = Duration::from_secs(15);

/// How trying out a destination ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Whether the receiver took it.
    pub is_delivered: bool,
    /// What it was sent as: what the receiver knows as `webhook-id`.
    pub id: String,
    /// Why not, or what else an admin should know.
    pub text: Option<String>,
}

impl Deliveries {
    /// Sends a `webhook.test`.
    pub async fn try_out(&self, destination: &EventDestination) -> Result<Tried, BadDestination> {
        let sender = self.sender(destination, &self.0.cluster.snapshot())?;
        let message = Message::of(&event(destination));
        let sent = within(LIMIT, sender.try_out(&message)).await;
        let (is_delivered, text) = match sent {
            Sent::Taken { note } => (true, note),
            Sent::Failed { why, .. } | Sent::Gone { why } => (false, Some(why)),
        };
        Ok(Tried { is_delivered, id: message.id(), text })
    }
}

async fn within(limit: Duration, sent: impl Future<Output = Sent>) -> Sent {
    let late = || Sent::failed(format!("it took longer than {} s", limit.as_secs()));
    tokio::time::timeout(limit, sent).await.unwrap_or_else(|_| late())
}

fn event(destination: &EventDestination) -> EventView {
    let now = unix_now().0;
    let mut details = Details::new();
    details.insert("destination".to_owned(), destination.id.to_string().into());
    details.insert("name".to_owned(), destination.name.clone().into());
    EventView {
        id: format!("test.{now}.{}", rand::random::<u32>()),
        at: festoon_api::Time(now).to_string(),
        kind: Kind::WebhookTest,
        endpoint: None,
        manager: None,
        network: None,
        generation: None,
        details,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_receiver_that_never_answers_is_not_waited_for() {
        let Sent::Failed { why, .. } = within(Duration::from_millis(1), std::future::pending()).await else {
            panic!("nobody took it")
        };
        assert_eq!(why, "it took longer than 0 s");
        assert!(LIMIT < crate::https::REQUEST_TIMEOUT);
    }
}
