//! Which manager a command is for.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args};
use festoon_proto::Fingerprint;

use super::{Client, Credential, Profiles, Server, Token};
use crate::cli::fault::Fault;
use crate::data_dir::DataDir;

/// Where a manager keeps its things if nobody says.
const DATA_DIR: &str = "/var/lib/festoon-manager";

/// Which manager, and as whom.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Which manager")]
pub(in crate::cli) struct Connection {
    /// Ask the manager that runs here on this directory [default: /var/lib/festoon-manager]
    #[arg(long, global = true, value_name = "DIR", env = "FESTOON_MANAGER_DATA", hide_short_help = true)]
    data_dir: Option<PathBuf>,
    /// Ask a manager elsewhere, as in https://203.0.113.10:8443; again for others, which are tried in this order
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "FESTOON_SERVER",
        value_delimiter = ',',
        hide_short_help = true
    )]
    server: Vec<Server>,
    /// The cluster of this login [default: that of the last one]
    #[arg(long, global = true, value_name = "NAME", env = "FESTOON_PROFILE", hide_short_help = true)]
    pub(in crate::cli) profile: Option<String>,
    /// The CA that the managers' certificates come from: SHA-256 in hexadecimal, as `ca show` has it
    #[arg(long, global = true, value_name = "SHA256", env = "FESTOON_CA_FINGERPRINT", hide_short_help = true)]
    pub(in crate::cli) ca_fingerprint: Option<Fingerprint>,
    /// A file with an API token, or - for the standard input. The token itself may be in FESTOON_TOKEN; this option comes first
    #[arg(long, global = true, value_name = "FILE", env = "FESTOON_TOKEN_FILE", hide_short_help = true)]
    token_file: Option<PathBuf>,
    /// Whether the command line itself says which manager, and not the environment.
    #[arg(skip)]
    is_named: bool,
    /// The token that the environment has itself.
    #[arg(skip)]
    token: Option<Token>,
}

/// What a command is for.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) enum Place {
    /// The manager that runs here on this directory.
    Here(PathBuf),
    /// These servers, which show certificates of these CAs.
    There { servers: Vec<Server>, ca: Vec<Fingerprint>, credential: Option<Credential> },
}

impl Connection {
    /// As the command line `matches` has it: if that says which manager, what the `environment` says of it does not count, nor
    /// what goes with a manager of the environment that is not the one that is meant.
    pub(in crate::cli) fn chosen_by(self, matches: &ArgMatches, environment: impl Fn(&str) -> Option<String>) -> Self {
        let is_said = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
        let token = environment("FESTOON_TOKEN").as_deref().and_then(Token::new).filter(|_| !is_said("token_file"));
        let chosen = Self { token, ..self }.named_by(["data_dir", "server", "profile"].map(is_said));
        let servers = login_servers(matches).unwrap_or_else(|| chosen.server.clone());
        if !is_other(&servers, chosen.profile.as_deref(), environment) {
            return chosen;
        }
        Self {
            token: None,
            token_file: chosen.token_file.filter(|_| is_said("token_file")),
            ca_fingerprint: chosen.ca_fingerprint.filter(|_| is_said("ca_fingerprint")),
            ..chosen
        }
    }

    /// What the command line says of directory, servers and profile, if it says any of them.
    fn named_by(self, said @ [data_dir, server, profile]: [bool; 3]) -> Self {
        if !said.contains(&true) {
            return self;
        }
        Self {
            data_dir: self.data_dir.filter(|_| data_dir),
            server: if server { self.server } else { Vec::new() },
            profile: self.profile.filter(|_| profile),
            is_named: true,
            ..self
        }
    }

    /// The directory of the manager on this machine, for what acts on that alone. Servers and profiles of the environment are
    /// for other commands.
    pub(in crate::cli) fn data_dir(&self) -> anyhow::Result<&Path> {
        if self.is_named && (!self.server.is_empty() || self.profile.is_some()) {
            let text = "this acts on the manager of one machine: run it there, without --server and --profile";
            return Err(Fault::Usage(text.to_owned()).into());
        }
        Ok(self.data_dir.as_deref().unwrap_or(Path::new(DATA_DIR)))
    }

    /// The file with a token that was named.
    pub(in crate::cli) fn token_file(&self) -> Option<&Path> {
        self.token_file.as_deref().filter(|_| self.token.is_none())
    }

    /// The token that the environment or a file has, besides those of profiles.
    pub(in crate::cli) fn token(&self) -> anyhow::Result<Option<Token>> {
        match &self.token {
            Some(token) => Ok(Some(token.clone())),
            None => self.token_file.as_deref().map(Token::read).transpose(),
        }
    }

    /// A client for what the command line, the environment or the last login says, in this order; on a machine where a
    /// manager runs, that one before the last login.
    pub(in crate::cli) fn client(&self) -> anyhow::Result<Client> {
        let profiles = || Profiles::load(&Profiles::path()?);
        let runs_here = DataDir::socket_in(Path::new(DATA_DIR)).exists();
        Ok(match self.place(profiles, self.token()?, runs_here)? {
            Place::Here(root) => Client::local(&root),
            Place::There { servers, ca, credential } => Client::remote(&servers, &ca, credential),
        })
    }

    fn place(
        &self,
        profiles: impl FnOnce() -> anyhow::Result<Profiles>,
        token: Option<Token>,
        runs_here: bool,
    ) -> anyhow::Result<Place> {
        if let Some(root) = &self.data_dir {
            if !self.server.is_empty() || self.profile.is_some() {
                let text = match self.is_named {
                    true => "--data-dir is for the manager of this machine: leave it out, or --server and --profile",
                    false => {
                        "FESTOON_MANAGER_DATA is for the manager of this machine, FESTOON_SERVER and FESTOON_PROFILE are for others: name one with --data-dir, --server or --profile"
                    }
                };
                return Err(Fault::Usage(text.to_owned()).into());
            }
            return Ok(Place::Here(root.clone()));
        }
        if self.server.is_empty() && self.profile.is_none() && runs_here {
            return Ok(Place::Here(DATA_DIR.into()));
        }
        // Without a home there are no profiles, and none may be needed.
        let profiles = match self.server.is_empty() || self.ca_fingerprint.is_none() || self.profile.is_some() {
            true => profiles()?,
            false => Profiles::default(),
        };
        match self.server.is_empty() {
            true => self.of_profile(&profiles, token),
            false => self.of_servers(&profiles, token),
        }
    }

    fn of_profile(&self, profiles: &Profiles, token: Option<Token>) -> anyhow::Result<Place> {
        let Some(name) = self.profile.as_ref().or(profiles.current.as_ref()) else {
            return Ok(Place::Here(DATA_DIR.into()));
        };
        let profile = profiles.named(name)?;
        let credential = match token {
            Some(token) => Some(Credential::Token(token)),
            None => profile.credential()?,
        };
        let ca = self.ca_fingerprint.map_or_else(|| profile.ca.clone(), |one| vec![one]);
        Ok(Place::There { servers: profile.servers.clone(), ca, credential })
    }

    /// Servers that were named. What a profile keeps of them, or the profile that was named, counts too.
    fn of_servers(&self, profiles: &Profiles, token: Option<Token>) -> anyhow::Result<Place> {
        let known = match &self.profile {
            Some(name) => Some(profiles.named(name)?),
            None => {
                profiles.profiles.values().find(|profile| self.server.iter().any(|it| profile.servers.contains(it)))
            }
        };
        let ca = match (self.ca_fingerprint, known) {
            (Some(one), _) => vec![one],
            (None, Some(profile)) => profile.ca.clone(),
            (None, None) => bail!(
                "it is not known which CA the certificate of {0} must come from: `festoon-manager login {0}` first, or name --ca-fingerprint",
                self.server.first().map(ToString::to_string).unwrap_or_default()
            ),
        };
        let credential = match (token, known) {
            (Some(token), _) => Some(Credential::Token(token)),
            (None, Some(profile)) => profile.credential()?,
            (None, None) => None,
        };
        Ok(Place::There { servers: self.server.clone(), ca, credential })
    }
}

/// The servers that a login is for.
fn login_servers(matches: &ArgMatches) -> Option<Vec<Server>> {
    let (_, login) = matches.subcommand().filter(|(name, _)| *name == "login")?;
    Some(login.get_many::<Server>("servers")?.cloned().collect())
}

/// Whether these servers and this profile are others than the `environment` names, which then may not have their credentials
/// either. If it names none, what it has is for whichever is meant.
fn is_other(servers: &[Server], profile: Option<&str>, environment: impl Fn(&str) -> Option<String>) -> bool {
    let habit = |name| environment(name).filter(|text| !text.is_empty());
    let others = habit("FESTOON_SERVER").is_some_and(|usual| {
        let is_usual = |server: &Server| usual.split(',').any(|text| text.parse().as_ref() == Ok(server));
        servers.is_empty() || !servers.iter().all(is_usual)
    });
    others || habit("FESTOON_PROFILE").is_some_and(|usual| profile != Some(&usual))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::FromArgMatches as _;

    use super::super::Profile;
    use super::*;

    fn server(text: &str) -> Server {
        text.parse().unwrap()
    }

    fn profiles() -> anyhow::Result<Profiles> {
        let profile = |host: &str, number: u8| Profile {
            servers: vec![server(host)],
            ca: vec![Fingerprint([number; 32])],
            ca_as_of: 0,
            token: Token::new(host),
            token_file: None,
            session: None,
        };
        let profiles = BTreeMap::from([("a".to_owned(), profile("a", 1)), ("b".to_owned(), profile("b", 2))]);
        Ok(Profiles { current: Some("a".to_owned()), profiles })
    }

    fn there(host: &str, number: u8, token: &str) -> Place {
        Place::There {
            servers: vec![server(host)],
            ca: vec![Fingerprint([number; 32])],
            credential: Token::new(token).map(Credential::Token),
        }
    }

    #[test]
    fn what_is_named_comes_before_this_machine_and_that_before_the_last_login() {
        let none = Connection::default;
        let here = Place::Here(DATA_DIR.into());
        assert_eq!(none().place(profiles, None, true).unwrap(), here);
        assert_eq!(none().place(profiles, None, false).unwrap(), there("a", 1, "a"));
        assert_eq!(none().place(|| Ok(Profiles::default()), None, false).unwrap(), here);
        let b = Connection { profile: Some("b".to_owned()), ..none() };
        assert_eq!(b.place(profiles, None, true).unwrap(), there("b", 2, "b"));
        assert_eq!(b.place(profiles, Token::new("other"), true).unwrap(), there("b", 2, "other"));
        let root = Connection { data_dir: Some("/x".into()), ..none() };
        assert_eq!(root.place(profiles, None, true).unwrap(), Place::Here("/x".into()));
        assert!(Connection { data_dir: Some("/x".into()), ..b }.place(profiles, None, true).is_err());
    }

    #[test]
    fn a_server_that_was_named_is_believed_by_what_is_known_of_it() {
        let named = |host: &str| Connection { server: vec![server(host)], ..Connection::default() };
        assert_eq!(named("b").place(profiles, None, true).unwrap(), there("b", 2, "b"));
        assert!(named("c").place(profiles, None, true).unwrap_err().to_string().contains("festoon-manager login"));
        let pinned = Connection { ca_fingerprint: Some(Fingerprint([3; 32])), ..named("c") };
        assert_eq!(pinned.place(profiles, None, true).unwrap(), there("c", 3, ""), "no token of another cluster");
    }

    /// What a command line says that is run in this environment.
    fn chosen(environment: &[(&str, &str)], line: &[&str]) -> Connection {
        // Whatever the environment of the tests has.
        let free = |command: clap::Command| command.mut_args(|arg| arg.env(None::<&str>));
        let login = clap::Command::new("login")
            .arg(clap::Arg::new("servers").num_args(1..).value_parser(clap::value_parser!(Server)));
        let command = free(Connection::augment_args(clap::Command::new("x"))).subcommand(login);
        let matches = command.get_matches_from([&["x"], line].concat());
        let of = |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
        let said = Connection::from_arg_matches(&matches).unwrap();
        let servers = || of("FESTOON_SERVER").iter().flat_map(|all| all.split(',')).map(server).collect();
        let all = Connection {
            server: if said.server.is_empty() { servers() } else { said.server },
            profile: said.profile.or(of("FESTOON_PROFILE")),
            data_dir: said.data_dir.or(of("FESTOON_MANAGER_DATA").map(Into::into)),
            token_file: said.token_file.or(of("FESTOON_TOKEN_FILE").map(Into::into)),
            ca_fingerprint: said.ca_fingerprint.or(of("FESTOON_CA_FINGERPRINT").map(|text| text.parse().unwrap())),
            ..said
        };
        all.chosen_by(&matches, of)
    }

    #[test]
    fn what_acts_here_is_refused_with_a_server_of_the_command_line_and_not_with_one_of_the_environment() {
        let environment = [("FESTOON_SERVER", "b"), ("FESTOON_PROFILE", "b"), ("FESTOON_MANAGER_DATA", "/env")];
        let with = |line: &[&str]| chosen(&environment, line);
        assert_eq!(with(&[]).data_dir().unwrap(), Path::new("/env"));
        assert!(with(&[]).place(profiles, None, true).unwrap_err().to_string().contains("FESTOON_MANAGER_DATA"));
        assert_eq!(with(&["--data-dir", "/x"]).data_dir().unwrap(), Path::new("/x"));
        assert_eq!(with(&["--data-dir", "/x"]).place(profiles, None, true).unwrap(), Place::Here("/x".into()));
        for line in [["--server", "b"], ["--profile", "b"]] {
            assert!(with(&line).data_dir().unwrap_err().to_string().contains("without --server"), "{line:?}");
            assert_eq!(with(&line).place(profiles, None, true).unwrap(), there("b", 2, "b"), "{line:?}");
        }
    }

    #[test]
    fn credentials_of_the_environment_go_to_no_manager_that_stands_for_another_of_it() {
        let (server, profile) = (("FESTOON_SERVER", "b,c"), ("FESTOON_PROFILE", "b"));
        for (environment, line, is_kept) in [
            // Only the environment says something, or it does not say which manager.
            (&[server][..], &[][..], true),
            (&[server, profile], &[], true),
            (&[], &[], true),
            (&[], &["--server", "a"], true),
            (&[], &["--profile", "a"], true),
            (&[], &["login", "a"], true),
            (&[("FESTOON_MANAGER_DATA", "/x")], &["--server", "a"], true),
            (&[("FESTOON_SERVER", "")], &["--server", "a"], true),
            // The command line says the same.
            (&[server], &["--server", "c"], true),
            (&[server], &["--server", "https://b:8443"], true),
            (&[profile], &["--profile", "b"], true),
            (&[server], &["login", "c"], true),
            // It names a profile there, and not a manager.
            (&[profile], &["login", "a"], true),
            // It says another.
            (&[server], &["--server", "a"], false),
            (&[server], &["--server", "b,a"], false),
            (&[server], &["--profile", "a"], false),
            (&[server], &["--data-dir", "/x"], false),
            (&[server], &["login", "a"], false),
            (&[server], &["--profile", "a", "login", "a"], false),
            (&[profile], &["--profile", "a"], false),
            (&[profile], &["--server", "b"], false),
            (&[profile], &["--profile", "a", "login", "a"], false),
            (&[server, profile], &["--server", "b"], false),
            (&[server, profile], &["--profile", "b"], false),
            (&[server, profile], &["--profile", "b", "--server", "c"], true),
        ] {
            let ca = Fingerprint([7; 32]).to_string();
            let secrets =
                [("FESTOON_TOKEN", "t"), ("FESTOON_TOKEN_FILE", "/t"), ("FESTOON_CA_FINGERPRINT", ca.as_str())];
            let all = |line: &[&str]| chosen(&[environment, &secrets[..]].concat(), line);
            let Connection { token, token_file, ca_fingerprint, .. } = all(line);
            let kept = [token.is_some(), token_file.is_some(), ca_fingerprint.is_some()];
            assert_eq!(kept, [is_kept; 3], "{environment:?} {line:?}");
            // What the command line itself says is meant, and comes first.
            let Connection { token, token_file, .. } = all(&[&["--token-file", "/said"], line].concat());
            assert_eq!((token, token_file), (None, Some("/said".into())), "{environment:?} {line:?}");
            let pinned = Fingerprint([8; 32]);
            let said = all(&[&["--ca-fingerprint", pinned.to_string().as_str()], line].concat());
            assert_eq!(said.ca_fingerprint, Some(pinned), "{environment:?} {line:?}");
        }
    }
}
