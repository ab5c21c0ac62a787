use performer::Exception;

fn check() -> Result<(), Exception> {
    Ok(())
}

fn in_between() -> anyhow::Result<()> {
    check()?;
    Ok(())
}

fn main() {
    let _ = in_between();
}
