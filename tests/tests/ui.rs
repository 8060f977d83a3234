//! What the compiler says about the commonest mistakes: a few lines that name the fix.

#[test]
fn mistakes_are_named_with_their_fix() {
    let cases = trybuild::TestCases::new();
    cases.pass("ui/pass/*.rs");
    cases.compile_fail("ui/fail/*.rs");
}
