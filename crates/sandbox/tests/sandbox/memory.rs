//! How much memory a job is said to use.

use crate::support::{Obedient, soon};

const MEBIBYTE: u64 = 1 << 20;

#[tokio::test]
async fn memory_rises_with_what_the_program_allocates() {
    let mut job = Obedient::start().await;
    let before = (job.process.memory().unwrap(), job.process.memory_exact().unwrap());
    assert!(before.0 > 0 && before.1 > 0);
    job.tell("allocate 100").await;
    let after = (job.process.memory().unwrap(), job.process.memory_exact().unwrap());
    let expected = 99 * MEBIBYTE..120 * MEBIBYTE;
    assert!(expected.contains(&(after.0 - before.0)), "{before:?} {after:?}");
    assert!(expected.contains(&(after.1 - before.1)), "{before:?} {after:?}");
}

#[tokio::test]
async fn memory_counts_every_process_of_the_job() {
    let mut job = Obedient::start().await;
    let before = job.process.memory().unwrap();
    job.tell_to_start("daemon").await;
    job.tell_to_start("hold").await;
    assert!(job.process.memory().unwrap() > before);
    soon("kill", job.process.kill()).await.unwrap();
    assert_eq!(job.process.memory().unwrap(), 0);
}
