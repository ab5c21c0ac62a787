use performer::{Exception, OrBusiness};

fn check() -> Result<(), Exception> {
    Ok(None::<()>.or_business("no such customer")?)
}

fn in_between() -> Result<(), Box<dyn std::error::Error>> {
    Ok(check()?)
}

fn main() {
    let _ = in_between();
}
