//! How a destination is doing, told to the cluster as events.

use festoon_events::delivery::News;
use festoon_events::{Details, Event, Kind};

use super::Courier;

impl Courier {
    /// Tells the cluster how the destination is doing.
    pub(super) async fn tell(&mut self) {
        let now = self.now().0;
        while let Some(news) = self.queue.poll_news() {
            let (kind, member, value) = match news {
                News::Failing => {
                    let error = self.queue.health().last_error.clone().unwrap_or_default();
                    (Kind::DestinationFailing, "error", error.into())
                }
                News::Recovered { failing_since } => {
                    let ms = now.saturating_sub(failing_since);
                    (Kind::DestinationRecovered, "failed_for_ms", ms.into())
                }
            };
            self.tell_event(now, kind, member, value).await;
        }
        let missed = self.queue.missed();
        if missed > self.missed_told {
            let count = missed - self.missed_told;
            tracing::warn!(destination = %self.destination.name, count, "events were gone before they were delivered");
            self.tell_event(now, Kind::DestinationMissed, "count", count.into()).await;
            self.missed_told = missed;
        }
    }

    async fn tell_event(&self, now: u64, kind: Kind, member: &str, value: serde_json::Value) {
        let mut details = Details::new();
        details.insert("destination".to_owned(), self.destination.id.to_string().into());
        details.insert("name".to_owned(), self.destination.name.clone().into());
        details.insert(member.to_owned(), value);
        let event = Event { details, ..Event::new(now, kind) };
        // Whoever takes it ends with the program alone.
        drop(self.deliveries.0.own_events.send(event).await);
    }
}
