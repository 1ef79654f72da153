//! `festoon ping` for people: a line for each request, and the end.

use std::fmt::{self, Display, Formatter};

use festoon_proto::map::EndpointMap;

use super::{Reply, Report, Summary};
use crate::control::Millis;
use crate::output::titled;
use festoon_proto::ManagerId;

/// The line for one request.
pub(super) fn reply_line(reply: &Reply, from: &str, map: &EndpointMap) -> String {
    let via = reply.via.map_or_else(|| "no manager".into(), |via| manager(via, map));
    match reply.rtt_us {
        Some(rtt) => format!("answer from {from}: {}, request {}, through {via}", Millis(rtt), reply.sequence),
        None => format!("no answer from {from}: request {}, through {via}", reply.sequence),
    }
}

/// A manager, by name if the map has it.
pub(super) fn manager(id: ManagerId, map: &EndpointMap) -> String {
    let known = map.managers.iter().find(|manager| manager.id == id);
    known.map_or_else(|| id.to_string(), |known| titled(&known.name, id))
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}: {}", self.target, self.summary)
    }
}

impl Display for Summary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (whole, tenth) = (self.lost_permille / 10, self.lost_permille % 10);
        write!(f, "{} sent, {} answered, {whole}.{tenth} % lost", self.sent, self.received)?;
        match self.rtt_us {
            Some(rtt) => {
                write!(f, "\nround trip min/avg/max: {} / {} / {}", Millis(rtt.min), Millis(rtt.avg), Millis(rtt.max))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::map;

    #[test]
    fn every_request_has_a_line_that_names_the_manager() {
        let reply = |rtt_us, via| Reply { sequence: 3, rtt_us, via };
        for (reply, expected) in [
            (reply(Some(1_250), Some(ManagerId(1))), "answer from x: 1.250 ms, request 3, through frankfurt (m1)"),
            (reply(None, Some(ManagerId(9))), "no answer from x: request 3, through m9"),
            (reply(None, None), "no answer from x: request 3, through no manager"),
        ] {
            assert_eq!(reply_line(&reply, "x", &map()), expected);
        }
    }

    #[test]
    fn the_end_tells_loss_and_round_trips() {
        let summary = Summary::of(&[Some(1_000), None, Some(3_000)]).to_string();
        assert_eq!(summary, "3 sent, 2 answered, 33.3 % lost\nround trip min/avg/max: 1.000 ms / 2.000 ms / 3.000 ms");
        assert_eq!(Summary::of(&[None]).to_string(), "1 sent, 0 answered, 100.0 % lost");
    }
}
