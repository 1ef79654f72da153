//! What happens in the cluster: seen here, told by the others, kept and told to whoever wants to know.
//!
//! ```text
//! node --> origin --+
//! audit log --------+--> writer --> store --> stream --> http, the other managers
//! other managers ---+   (one order)
//! ```

mod audit;
pub mod http;
mod origin;
mod pull;
mod store;
mod stream;
mod writer;

use std::path::Path;
use std::sync::Arc;

use festoon_cluster::storage::Whole;
use festoon_events::Event;
use festoon_proto::ManagerId;
use tokio::sync::{mpsc, watch};

use crate::cluster::{Cluster, Https, unix_now};
use crate::data_dir::DataDir;
use crate::node::Sighting;

pub use pull::router;
pub use store::{Keep, Row, Store, StoreError};
pub use stream::{Events, Page, Rows};

/// Events that a manager keeps: of one endpoint a hundredth of all at most.
const KEEP: Keep = Keep { all: 250_000, of_endpoint: 2_500 };
/// Sightings on their way.
const SIGHTINGS: usize = 1_024;
/// What else this manager tells, on its way.
const OWN: usize = 64;
/// Parts of other logs on their way.
const ARRIVALS: usize = 1_024;

/// The events, and what keeps them.
pub struct Record {
    /// The events.
    pub events: Events,
    /// Takes what the node sees.
    pub sightings: mpsc::Sender<Sighting>,
    /// Takes what the rest of this manager has to tell.
    pub own: mpsc::Sender<Event>,
    told: mpsc::Receiver<Event>,
    me: ManagerId,
    managers: Https,
    seen: mpsc::Receiver<Sighting>,
}

/// Opens the record of manager `me`. A file that can't be read is put aside: what it had, the others have, and traffic does not
/// wait for it.
pub fn open(
    data: &DataDir,
    me: ManagerId,
    cluster: Cluster,
    managers: Https,
    trail: watch::Receiver<Option<Whole>>,
) -> Result<Record, StoreError> {
    let store = Arc::new(open_or_begin_anew(&data.events())?);
    let (sightings, seen) = mpsc::channel(SIGHTINGS);
    let (own, told) = mpsc::channel(OWN);
    Ok(Record { events: Events { store, cluster, trail }, sightings, own, told, me, managers, seen })
}

fn open_or_begin_anew(path: &Path) -> Result<Store, StoreError> {
    let damage = match Store::open(path, KEEP) {
        Err(damage) => damage,
        opened => return opened,
    };
    let aside = path.with_extension("damaged.redb");
    if let Err(error) = std::fs::rename(path, &aside) {
        tracing::error!(%error, "the file of events can't be put aside");
        return Err(damage);
    }
    tracing::error!(%damage, aside = %aside.display(), "the events are recorded anew");
    Store::open(path, KEEP)
}

impl Record {
    /// Takes in what all sources tell. Does not end before the registry does.
    pub async fn run(self) {
        let Self { events: Events { store, cluster, trail }, sightings, own, told: own_events, me, managers, seen } =
            self;
        // Those who tell have their own.
        drop((sightings, own));
        let opened = Arc::clone(&store);
        let read =
            move || Ok::<_, StoreError>((writer::Writer::new(Arc::clone(&opened), me, unix_now().0)?, opened.told()?));
        let (writer, told) = match tokio::task::spawn_blocking(read).await {
            Ok(Ok(read)) => read,
            Ok(Err(error)) => {
                tracing::error!(%error, "no events are recorded");
                return std::future::pending().await;
            }
            Err(_) => return,
        };
        let (arrivals, arriving) = mpsc::channel(ARRIVALS);
        tokio::join!(
            writer.run(arriving),
            origin::tell(me, seen, arrivals.clone()),
            origin::pass_on(own_events, arrivals.clone()),
            audit::follow(cluster.clone(), trail, told, KEEP.all, arrivals.clone()),
            pull::run(me, cluster, managers, store, arrivals),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_record_is_put_aside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.redb");
        std::fs::write(&path, vec![7; 100_000]).unwrap();
        let store = open_or_begin_anew(&path).unwrap();
        assert_eq!(store.told().unwrap(), festoon_events::Cursor::default());
        assert_eq!(std::fs::read(directory.path().join("events.damaged.redb")).unwrap(), vec![7; 100_000]);
    }
}
