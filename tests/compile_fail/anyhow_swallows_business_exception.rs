use performer::BusinessException;

fn in_between() -> anyhow::Result<()> {
    Err(BusinessException::new("the amount is negative"))?
}

fn main() {
    let _ = in_between();
}
