//! Nobody is answered what it may not ask, wherever it stands. See `festoon_tests::hostile`.

use festoon_tests::hostile;
use festoon_tests::lab::Lab;

/// So many cases are the least that is of use; `make acceptance` has the same bar.
const CASES: u64 = 2_000;

#[test]
fn no_position_is_answered_what_it_may_not_ask() -> anyhow::Result<()> {
    let outcome = Lab::run(hostile::run)?;
    let hostile::Outcome { positions, routes, cases, messages, wrong } = outcome;
    eprintln!(
        "{positions} positions, {routes} routes, {cases} cases, {messages} of them messages, {} wrong",
        wrong.len()
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(cases >= CASES, "only {cases} cases");
    Ok(())
}
