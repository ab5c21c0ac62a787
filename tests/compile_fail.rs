//! A BusinessException cannot be lost on the way up: these programs do not compile.

#[test]
fn a_business_exception_cannot_be_swallowed() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/compile_fail/*.rs");
}
