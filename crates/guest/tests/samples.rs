//! Programs that are given as C source: the project's examples, and samples as they are published.

use std::fs;
use std::path::Path;

use ring3_guest::{Contents, Job, JobBuilder};

fn prepare(source: &Path, cache: &Path) -> (Job, Vec<String>) {
    let mut notes = Vec::new();
    let job = JobBuilder::new(source)
        .cache(cache)
        .prepare(&Contents::default(), &mut |line| {
            notes.push(line.to_owned())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    (job, notes)
}

#[test]
fn the_examples_compile_without_a_warning() {
    let cache = tempfile::tempdir().unwrap();
    let mut seen = 0;
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples"))
        .unwrap()
        .flatten()
    {
        if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "c")
        {
            let (job, notes) = prepare(&entry.path(), cache.path());
            assert!(
                notes.iter().all(|note| !note.contains("warning")),
                "{notes:?}"
            );
            assert!(job.executable().starts_with(cache.path()));
            seen += 1;
        }
    }
    assert!(seen > 0);
}

/// The receiver and sender of the talk "User Interrupts - A faster way to signal" (Linux Plumbers Conference 2021), with
/// the declarations its slides leave out. Its handler carries the bare attribute.
const TALK: &str = r#"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <x86gprintrin.h>
#include <uintr.h>

volatile int uintr_received;
int uintr_fd, ret;

void __attribute__((interrupt)) u_handler(struct __uintr_frame *frame, unsigned long vector)
{
    write(STDOUT_FILENO, "User Interrupt!\n", 16);
    uintr_received = 1;
}

void *sender_thread(void *arg)
{
    int uipi_handle = uintr_register_sender(uintr_fd, 0);
    printf("Sending IPI from sender thread\n");
    _senduipi(uipi_handle);
    uintr_unregister_sender(uintr_fd, 0);
    return NULL;
}

int main(int argc, char *argv[])
{
    pthread_t pt;
    ret = uintr_register_handler(u_handler, 0);
    uintr_fd = uintr_create_fd(0, 0);
    _stui();
    printf("Receiver enabled interrupts\n");
    pthread_create(&pt, NULL, &sender_thread, NULL);
    while (!uintr_received);
    pthread_join(pt, NULL);
    close(uintr_fd);
    uintr_unregister_handler(0);
    exit(EXIT_SUCCESS);
}
"#;

#[test]
fn the_sample_of_the_talk_compiles() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("uipi_sample.c");
    fs::write(&source, TALK).unwrap();
    let (job, notes) = prepare(&source, &folder.path().join("cache"));
    assert!(notes.is_empty(), "{notes:?}");
    assert!(job.details()[0].contains("-mgeneral-regs-only"));
    // The handler ends in UIRET (F3 0F 01 EC), not in IRETQ: the flags meant what they should.
    let bytes = fs::read(job.executable()).unwrap();
    assert!(
        bytes
            .windows(4)
            .any(|window| window == [0xf3, 0x0f, 0x01, 0xec])
    );
    assert_eq!(job.program(), folder.path().join("uipi_sample"));
}
