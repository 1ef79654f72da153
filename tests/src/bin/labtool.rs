//! The program that measures and disturbs from inside a lab host. See `festoon_tests::tools`.

fn main() -> anyhow::Result<()> {
    festoon_tests::tools::main()
}
