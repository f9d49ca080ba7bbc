//! Making, keeping, damaging and cleaning guests. Needs the distribution's kernel package once; where it cannot be had
//! the tests say so and stop.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use ring3_guest::*;

/// Kernel packages are shared with the other tests, so that one download serves all.
fn packages() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("guest-cache")
}

/// A cache of its own with a kernel in it, or `None`.
fn cache_with_kernel() -> Option<tempfile::TempDir> {
    let shared = GuestBuilder::new()
        .cache(packages())
        .uintr(UintrModule::None)
        .prepare(&mut |line| eprintln!("{line}"));
    match shared {
        Ok(_) => {}
        Err(error)
            if matches!(
                error.problem(),
                Problem::KernelNotFound | Problem::ToolMissing
            ) =>
        {
            eprintln!("skipped: {error}");
            return None;
        }
        Err(error) => panic!("{error}"),
    }
    let cache = tempfile::tempdir().unwrap();
    if packages().join("packages").is_dir() {
        std::os::unix::fs::symlink(packages().join("packages"), cache.path().join("packages"))
            .unwrap();
    }
    Some(cache)
}

/// Prepares a guest and returns what was announced.
fn prepare(builder: &GuestBuilder) -> (Guest, Vec<String>) {
    let mut lines = Vec::new();
    let guest = builder
        .prepare(&mut |line| lines.push(line.to_owned()))
        .unwrap();
    (guest, lines)
}

#[test]
fn a_guest_is_made_once() {
    let Some(cache) = cache_with_kernel() else {
        return;
    };
    let builder = GuestBuilder::new()
        .cache(cache.path())
        .uintr(UintrModule::None);
    let (first, lines) = prepare(&builder);
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("making the guest 'default'")),
        "{lines:?}"
    );
    let (second, lines) = prepare(&builder);
    assert_eq!((second.identity(), lines), (first.identity(), Vec::new()));
    assert!(first.kernel().unwrap()[0x202..].starts_with(b"HdrS"));
    assert!(first.initramfs().unwrap().starts_with(b"070701"));
    assert_eq!(
        first.manifest().modules.last().map(String::as_str),
        Some("virtio_blk")
    );
    // Another wish is another guest.
    let (named, _) = prepare(&builder.clone().name("other"));
    assert_ne!(named.identity(), first.identity());
    let module = cache.path().join("x.ko");
    fs::write(&module, b"one").unwrap();
    let with = |builder: &GuestBuilder| {
        prepare(&builder.clone().uintr(UintrModule::File(module.clone())))
            .0
            .identity()
    };
    let one = with(&builder);
    assert_ne!(one, first.identity());
    fs::write(&module, b"another").unwrap();
    assert_ne!(with(&builder), one);
    assert!(
        builder
            .clone()
            .name("no/name")
            .prepare(&mut |_| {})
            .is_err()
    );
}

#[test]
fn damage_is_noticed_and_mended() {
    let Some(cache) = cache_with_kernel() else {
        return;
    };
    let builder = GuestBuilder::new()
        .cache(cache.path())
        .uintr(UintrModule::None);
    let (guest, _) = prepare(&builder);
    let initramfs = guest.folder().join("initramfs.cpio");
    let whole = fs::read(&initramfs).unwrap();

    // A changed byte is noticed when the file is used.
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    fs::write(&initramfs, &changed).unwrap();
    assert_eq!(
        guest.initramfs().unwrap_err().problem(),
        Problem::CacheDamaged
    );

    // Missing bytes and files are noticed at once, and the guest is made again.
    let damages: [&dyn Fn(); 3] = [
        &|| fs::write(&initramfs, &whole[..100]).unwrap(),
        &|| fs::remove_file(&initramfs).unwrap(),
        &|| fs::write(guest.folder().join("manifest.json"), b"{}").unwrap(),
    ];
    for damage in damages {
        damage();
        let entries = list(cache.path()).unwrap();
        assert!(entries[0].damage.is_some(), "{entries:?}");
        let (again, lines) = prepare(&builder);
        assert!(
            lines[0].contains("is damaged") && lines[0].contains("again"),
            "{lines:?}"
        );
        assert_eq!(
            (again.identity(), again.initramfs().unwrap() == whole),
            (guest.identity(), true)
        );
        assert_eq!(prepare(&builder).1, Vec::<String>::new());
    }
    fs::write(&initramfs, b"").unwrap();
    assert_eq!(
        clean(cache.path(), &Selection::Damaged, &mut |_| {})
            .unwrap()
            .len(),
        1
    );
    assert!(!guest.folder().exists());
}

#[test]
fn listing_and_cleaning() {
    let Some(cache) = cache_with_kernel() else {
        return;
    };
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(list(empty.path()).unwrap(), []);
    assert_eq!(
        clean(
            &empty.path().join("none"),
            &Selection::Everything,
            &mut |_| {}
        )
        .unwrap(),
        []
    );
    // The shared packages are not this test's to remove.
    let _ = fs::remove_file(cache.path().join("packages"));
    let kernel = GuestBuilder::new()
        .cache(packages())
        .uintr(UintrModule::None)
        .prepare(&mut |_| {})
        .unwrap();
    let file = cache.path().join("kernel");
    fs::write(&file, kernel.kernel().unwrap()).unwrap();
    let builder = GuestBuilder::new()
        .cache(cache.path())
        .kernel(KernelChoice::File(file))
        .modules(ModulesChoice::BuiltIn)
        .uintr(UintrModule::None);
    let names = ["one", "two", "two-more"];
    for name in names {
        prepare(&builder.clone().name(name));
    }
    let listed = list(cache.path()).unwrap();
    assert_eq!(listed.len(), 3);
    let releases: Vec<_> = listed
        .iter()
        .map(|entry| &entry.guest.as_ref().unwrap().kernel_release)
        .collect();
    assert!(
        releases
            .iter()
            .all(|release| **release == kernel.manifest().kernel_release),
        "{releases:?}"
    );
    assert!(listed[0].bytes > 1 << 20 && listed[0].damage.is_none());
    let removed = clean(cache.path(), &Selection::Named("one".into()), &mut |_| {}).unwrap();
    assert_eq!(removed.len(), 1);
    assert_eq!(
        clean(cache.path(), &Selection::Guests, &mut |_| {})
            .unwrap()
            .len(),
        2
    );
    assert_eq!(list(cache.path()).unwrap(), []);
    let (_, lines) = prepare(&builder.name("one"));
    assert!(lines[0].starts_with("making"), "{lines:?}");
    clean(cache.path(), &Selection::Everything, &mut |_| {}).unwrap();
    assert_eq!(list(cache.path()).unwrap(), []);
}

#[test]
fn several_at_once_make_one_guest() {
    let Some(cache) = cache_with_kernel() else {
        return;
    };
    let builder = GuestBuilder::new()
        .cache(cache.path())
        .uintr(UintrModule::None);
    let made: Vec<(String, Vec<String>)> = thread::scope(|scope| {
        let handles: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let (guest, lines) = prepare(&builder);
                    (guest.identity(), lines)
                })
            })
            .collect();
        handles
            .into_iter()
            .map(|handle| handle.join().unwrap())
            .collect()
    });
    assert!(made.windows(2).all(|pair| pair[0].0 == pair[1].0));
    let making = made
        .iter()
        .flat_map(|(_, lines)| lines)
        .filter(|line| line.starts_with("making"))
        .count();
    assert_eq!(making, 1, "{made:?}");
    let left: Vec<_> = fs::read_dir(cache.path().join("guests"))
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(left.len(), 2, "the guest and the index: {left:?}");
}

#[test]
fn kernels_that_are_none_or_lack_modules() {
    let cache = tempfile::tempdir().unwrap();
    let file = cache.path().join("file");
    let problem = |modules: ModulesChoice| {
        let builder = GuestBuilder::new()
            .cache(cache.path())
            .kernel(KernelChoice::File(file.clone()))
            .modules(modules)
            .uintr(UintrModule::None);
        builder.prepare(&mut |_| {}).unwrap_err().problem()
    };
    assert_eq!(problem(ModulesChoice::Search), Problem::File);
    fs::write(&file, b"no kernel").unwrap();
    assert_eq!(problem(ModulesChoice::Search), Problem::KernelNotFound);
    let mut image = vec![0; 0x400];
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x20e] = 0x10;
    image[0x210..0x217].copy_from_slice(b"9.9.9-x");
    fs::write(&file, &image).unwrap();
    assert_eq!(problem(ModulesChoice::Search), Problem::ModulesNotFound);
    assert_eq!(
        problem(ModulesChoice::Folder(cache.path().join("none"))),
        Problem::ModulesNotFound
    );
    let folder = cache.path().join("modules");
    fs::create_dir_all(folder.join("kernel")).unwrap();
    assert_eq!(
        problem(ModulesChoice::Folder(folder.clone())),
        Problem::ModulesNotFound
    );
    // Built in, and said so by the kernel's own list.
    let list = "kernel/drivers/virtio/virtio_pci.ko\nkernel/drivers/char/virtio_console.ko\nkernel/drivers/block/virtio_blk.ko\n";
    fs::write(folder.join("modules.builtin"), list).unwrap();
    let builder = GuestBuilder::new()
        .cache(cache.path())
        .kernel(KernelChoice::File(file.clone()))
        .modules(ModulesChoice::Folder(folder))
        .uintr(UintrModule::None);
    assert_eq!(
        builder.prepare(&mut |_| {}).unwrap().manifest().modules,
        Vec::<String>::new()
    );
}
