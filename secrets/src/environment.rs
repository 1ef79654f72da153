//! Settings from the environment.

use std::ffi::OsStr;

use clap::Command;
use clap::builder::Resettable;

/// The same command line, for which a variable that is empty is not set: in a file for systemd or a container, `NAME=` means that.
#[must_use]
pub fn ignore_empty_variables(command: Command) -> Command {
    ignore(command, &|name| std::env::var_os(name).is_some_and(|value| value.is_empty()))
}

fn ignore(command: Command, is_empty: &impl Fn(&OsStr) -> bool) -> Command {
    let subcommands: Vec<String> = command.get_subcommands().map(|it| it.get_name().to_owned()).collect();
    let command = command.mut_args(|arg| match arg.get_env() {
        Some(name) if is_empty(name) => arg.env(Resettable::Reset),
        _ => arg,
    });
    subcommands.into_iter().fold(command, |command, name| command.mut_subcommand(name, |it| ignore(it, is_empty)))
}

#[cfg(test)]
mod tests {
    use clap::{Arg, value_parser};

    use super::*;

    #[test]
    fn an_empty_variable_is_none_everywhere() {
        let arg = || Arg::new("number").long("number").env("FESTOON_TEST_NUMBER").value_parser(value_parser!(u8));
        let command = Command::new("x").arg(arg()).subcommand(Command::new("y").arg(arg()));
        for is_empty in [true, false] {
            let command = ignore(command.clone(), &|name| is_empty && name == "FESTOON_TEST_NUMBER");
            let sub = command.find_subcommand("y").unwrap();
            let variables = [&command, sub].map(|it| it.get_arguments().any(|arg| arg.get_env().is_some()));
            assert_eq!(variables, [!is_empty; 2]);
        }
    }
}
