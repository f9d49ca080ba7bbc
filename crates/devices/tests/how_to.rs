//! The page that tells how to add a device shows code of a real one: it must stay the code.

#[test]
fn every_rust_block_of_the_page_stands_in_the_file_named_above_it() {
    let page = include_str!("../../../docs/how-to/add-a-device.md");
    let sources = [
        ("crates/devices/src/lib.rs", include_str!("../src/lib.rs")),
        (
            "crates/devices/src/debug_exit/spec.rs",
            include_str!("../src/debug_exit/spec.rs"),
        ),
        (
            "crates/devices/src/debug_exit/mod.rs",
            include_str!("../src/debug_exit/mod.rs"),
        ),
        (
            "crates/devices/src/debug_exit/tests.rs",
            include_str!("../src/debug_exit/tests.rs"),
        ),
    ];
    let mut blocks = 0;
    let mut rest = page;
    while let Some((before, after)) = rest.split_once("```rust\n") {
        let (block, after) = after.split_once("```").expect("the block ends");
        let named = before.trim_end().lines().last().unwrap_or_default();
        let (_, source) = sources
            .iter()
            .find(|(path, _)| named == format!("`{path}`"))
            .unwrap_or_else(|| panic!("{named} is no source file"));
        assert!(source.contains(block), "no longer in {named}:\n{block}");
        blocks += 1;
        rest = after;
    }
    assert_eq!(blocks, 9, "the page lost some of its examples");
}
