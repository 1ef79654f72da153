//! Shows a failover. See `festoon_tests::demo`.

fn main() -> std::process::ExitCode {
    festoon_tests::demo::main()
}
