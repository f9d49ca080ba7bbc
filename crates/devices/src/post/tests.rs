use super::*;
use crate::storm::{self, NoRam};

#[test]
fn port_80_shows_the_last_code_and_port_ed_swallows() {
    let mut post = Post::new();
    let mut effects = vec![];
    for (region, value) in [(0, 0x5a), (1, 0xff)] {
        post.write(Ticks(0), region, 0, 1, value, &mut NoRam, &mut effects);
    }
    assert_eq!(post.code(), 0x5a);
    assert_eq!(post.read(Ticks(0), 0, 0, 1, &mut effects), 0x5a);
    assert_eq!(post.read(Ticks(0), 1, 0, 1, &mut effects), 0xff);
    assert!(effects.is_empty());
    post.reset();
    assert_eq!(post.code(), 0);
}

#[test]
fn weathers_a_storm_of_accesses() {
    storm::weather(Post::new, 1, 100_000, |_, _, _, _| 0);
}
