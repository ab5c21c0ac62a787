use performer::OrBusiness;

fn in_between(text: &str) -> Result<i32, Box<dyn std::error::Error + Send + Sync>> {
    Ok(text.parse::<i32>().or_business("not a number")?)
}

fn main() {
    let _ = in_between("1");
}
