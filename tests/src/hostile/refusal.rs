//! Which answers are refusals: somebody is told that it may not ask this, or nothing at all.

use crate::tools::ask::Answer;

/// The words of problems that say so. What a caller may not know of is "not there" as well; the tables name nothing else that
/// is not there with these words.
const WORDS: &[&str] = &[
    "account-disabled",
    "api-token-expired",
    "api-token-unknown",
    "bad-api-token",
    "bad-credential",
    "certificate-expired",
    "confirmation-needed",
    "credential-replaced",
    "csrf",
    "endpoint-disabled",
    "endpoint-unknown",
    "is-witness",
    "needs-session",
    "join-token-unknown",
    "method-unknown",
    "network-unknown",
    "no-secrets",
    "not-a-manager",
    "not-allowed",
    "not-logged-in",
    "route-unknown",
    "session-ended",
    "token-expired",
    "token-not-sensitive",
    "token-unknown",
    "token-used",
    "token-wrong-kind",
    "user-unknown",
    "witness",
    "wrong-host",
    "wrong-origin",
];
/// What a router says of itself: there is nothing there.
const NOTHING_THERE: [u16; 2] = [404, 405];
/// The route of consensus: it refuses in its own words.
pub const CONSENSUS: &str = "/cluster/v1/ask";
/// The number of `Rejected` among the answers of consensus, which the answer begins with.
const REJECTED: u8 = 5;

/// Whether the answer to a request for `path` is a refusal.
#[must_use]
pub fn is_refusal(path: &str, answer: &Answer) -> bool {
    let Some(status) = answer.status else { return true };
    if path == CONSENSUS && status == 200 {
        return answer.body.first() == Some(&REJECTED);
    }
    WORDS.contains(&answer.kind.as_str()) || (NOTHING_THERE.contains(&status) && answer.kind.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_closed_connections_are_refusals_and_mistakes_are_not() {
        let answer = |status, kind: &str, body: &[u8]| Answer {
            status: Some(status),
            kind: kind.to_owned(),
            body: body.to_vec(),
        };
        let table = [
            ("/x", Answer::default(), true),
            ("/x", answer(401, "bad-credential", &[]), true),
            ("/x", answer(401, "log-in-wrong", &[]), false),
            ("/x", answer(404, "", &[]), true),
            ("/x", answer(404, "snapshot-unknown", &[]), false),
            ("/x", answer(412, "changed-meanwhile", &[]), false),
            ("/x", answer(200, "", &[5]), false),
            (CONSENSUS, answer(200, "", &[5, 0]), true),
            (CONSENSUS, answer(200, "", &[4, 0]), false),
            (CONSENSUS, answer(403, "not-a-manager", &[]), true),
        ];
        for (path, answer, expected) in table {
            assert_eq!(is_refusal(path, &answer), expected, "{path} {answer:?}");
        }
    }
}
