//! `festoon-manager ca`: the CA of the cluster, shown and replaced.

use std::path::Path;

use axum::http::Method;
use festoon_control::registry::AuthorityRole;
use festoon_proto::Fingerprint;

use super::client::Client;
use super::output::{Column, Output, Table, confirm};
use crate::cluster::unix_now;
use crate::local::{CA, CA_PROMOTE, CA_RETIRE, CA_ROTATE, CaManagerRow, CaReport, Retire};

const DAY_MS: u64 = 24 * 3600 * 1000;
/// Digits of a fingerprint that tell two CAs apart.
const SHORT: usize = 16;

#[derive(Debug, clap::Subcommand)]
pub(super) enum CaCommand {
    /// Show the CAs that are trusted, which managers have certificates of them, and what comes next
    Show,
    /// Make the next CA: from now on it is trusted beside the one of now
    Rotate,
    /// Let the next CA issue certificates: all managers get one of it
    Promote,
    /// Trust the CA before no longer
    Retire {
        /// The next CA instead, which nobody uses yet
        #[arg(long, conflicts_with = "force")]
        next: bool,
        /// Even if that locks managers or agents out
        #[arg(long)]
        force: bool,
    },
}

pub(super) async fn run(root: &Path, command: CaCommand, output: Output, is_sure: bool) -> anyhow::Result<()> {
    let client = Client::local(root);
    let report: CaReport = match command {
        CaCommand::Show => client.get(CA).await?,
        CaCommand::Rotate => client.send(Method::POST, CA_ROTATE, &()).await?,
        CaCommand::Promote => client.send(Method::POST, CA_PROMOTE, &()).await?,
        CaCommand::Retire { next, force } => {
            // Nobody uses the next one yet.
            confirm(retirement(force), is_sure || next)?;
            client.send(Method::POST, CA_RETIRE, &Retire { next, force }).await?
        }
    };
    output.show(&report, || render(&report, unix_now().0))
}

const fn retirement(is_forced: bool) -> &'static str {
    match is_forced {
        true => {
            "the CA before is to be trusted no longer; managers and agents that do not know the new one are locked out for good"
        }
        false => {
            "the CA before is to be trusted no longer; join tokens and snapshots made before the promotion are of no use then"
        }
    }
}

fn render(report: &CaReport, now: u64) -> String {
    let authorities = report.authorities.iter().map(|one| vec![role(one.role).to_owned(), one.fingerprint.to_string()]);
    let columns = ["CA", "FINGERPRINT"].map(Column::always);
    let authorities = Table::new(&columns, "").rows(authorities).render(true, None);
    let columns = ["MANAGER", "CERTIFICATE FROM", "GOOD FOR", "TRUSTS", "READY"].map(Column::always);
    let managers = Table::new(&columns, "").rows(report.managers.iter().map(|manager| manager_row(manager, now)));
    let mut text = format!("{authorities}\n{}\n{}\n", managers.render(true, None), next_step(report));
    if let Some(untold) = report.untold() {
        text.push_str(&format!("They could never connect again once the old CA is retired; {untold}\n"));
    }
    text
}

const fn role(role: AuthorityRole) -> &'static str {
    match role {
        AuthorityRole::Next => "next",
        AuthorityRole::Current => "current",
        AuthorityRole::Previous => "previous",
    }
}

fn manager_row(manager: &CaManagerRow, now: u64) -> Vec<String> {
    let short = |fingerprint: &Fingerprint| fingerprint.to_string()[..SHORT].to_owned();
    let ready = if manager.is_ready { "yes" } else { "no" }.to_owned();
    let Some(shown) = &manager.shown else {
        return vec![manager.name.clone(), "no answer".to_owned(), "-".to_owned(), "-".to_owned(), ready];
    };
    vec![
        manager.name.clone(),
        shown.issuer.as_ref().map_or("-".to_owned(), short),
        format!("{} days", shown.until_unix_ms.saturating_sub(now) / DAY_MS),
        shown.trusted.iter().map(short).collect::<Vec<_>>().join(","),
        ready,
    ]
}

fn next_step(report: &CaReport) -> &'static str {
    let all_ready = report.managers.iter().all(|manager| manager.is_ready);
    let is = |role| report.authority(role).is_some();
    match (is(AuthorityRole::Next), is(AuthorityRole::Previous), all_ready) {
        (true, _, true) => "Next: `festoon-manager ca promote`.",
        (true, _, false) => {
            "Next: `festoon-manager ca promote`, once every manager is ready; `ca retire --next` gives the new CA up."
        }
        (_, true, true) => {
            "Next: `festoon-manager ca retire`. Join tokens and snapshots made before the promotion are of no use after it."
        }
        (_, true, false) => "Next: `festoon-manager ca retire`, once every manager is ready.",
        _ => "The CA is not being replaced. `festoon-manager ca rotate` begins it.",
    }
}

#[cfg(test)]
mod tests {
    use festoon_proto::ManagerId;

    use super::*;
    use crate::certificate::Shown;
    use crate::local::AuthorityRow;

    #[test]
    fn it_says_who_is_not_ready_and_what_comes_next() {
        let (old, new) = (Fingerprint([1; 32]), Fingerprint([2; 32]));
        let row = |fingerprint, role| AuthorityRow { fingerprint, role };
        let shown = Shown { issuer: Some(new), until_unix_ms: 365 * DAY_MS, trusted: vec![old, new] };
        let manager = |number, shown: Option<Shown>| CaManagerRow {
            id: ManagerId(number),
            name: format!("m{number}"),
            is_ready: shown.is_some(),
            shown,
        };
        let report = CaReport {
            authorities: vec![row(old, AuthorityRole::Previous), row(new, AuthorityRole::Current)],
            managers: vec![manager(1, Some(shown)), manager(2, None)],
            agents_untold: 2,
            agents_untold_names: vec!["web".to_owned()],
        };
        let text = render(&report, 0);
        assert!(text.contains("m1       0202020202020202  365 days"), "{text}");
        assert!(text.contains("m2       no answer"), "{text}");
        assert!(text.contains("once every manager is ready"), "{text}");
        assert!(text.contains("agents not told of the new CA: 2 (web, ...)"), "{text}");
        let ready = CaReport { managers: Vec::new(), agents_untold: 0, ..report };
        assert!(render(&ready, 0).contains("Next: `festoon-manager ca retire`. "));
    }
}
