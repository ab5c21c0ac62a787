//! The command: parse, run, exit code.

fn main() -> std::process::ExitCode {
    performer::cli::main()
}
