//! Measures every bar. See `festoon_tests::acceptance`.

fn main() -> std::process::ExitCode {
    festoon_tests::acceptance::main()
}
