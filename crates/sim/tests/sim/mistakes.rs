//! Mistakes made on purpose are found, and shrunk to what a person can read.

use std::time::Duration;

use metal9_sim::script::Script;
use metal9_sim::{Flaw, Options, Plan, Violation, World, shrink};

fn options(flaw: Flaw) -> Options {
    let patience = Duration::from_secs(120);
    Options { check_every: 500, patience, flaw: Some(flaw), ..Options::default() }
}

/// Runs seeds until a mistake breaks one of these rules.
fn drawn(flaw: Flaw, rules: &[&str]) -> (Script, Violation) {
    for seed in 1..=20 {
        let script = Plan { seed, workers: 4, tasks: 60 }.script();
        if let Err(violation) = World::new(options(flaw)).run(&script)
            && rules.contains(&violation.rule.as_str())
        {
            return (script, violation);
        }
    }
    panic!("{flaw:?} does not show in 20 seeds");
}

/// Runs a script in which a mistake shows, among much else that is needless.
fn written(flaw: Flaw, text: &str) -> (Script, Violation) {
    let script: Script = text.parse().expect("a script");
    let violation = World::new(options(flaw)).run(&script).expect_err("the mistake shows");
    (script, violation)
}

fn is_shrunk(flaw: Flaw, found: (Script, Violation), rule: &str, lines: usize) {
    let (script, violation) = found;
    assert_eq!(violation.rule, rule, "{violation}");
    let shrunk = shrink(&script, options(flaw), &violation, 300);
    let text = shrunk.script.to_string();
    println!("{flaw:?}, {} runs: {}\n{text}", shrunk.runs, shrunk.violation);
    assert!(text.lines().count() <= lines, "{} lines:\n{text}", text.lines().count());
    // What is printed fails in the same way when it is read back, and only with the mistake.
    let again = text.parse().expect("it reads back");
    let failure = World::new(options(flaw)).run(&again).expect_err("it fails again");
    assert_eq!(failure.rule, rule);
    assert_eq!(World::new(Options { flaw: None, ..options(flaw) }).run(&again), Ok(()));
}

#[test]
fn an_order_that_is_never_given_is_found() {
    let flaw = Flaw::ForgetsToStopContainers;
    let rule = "every container comes to an end";
    is_shrunk(flaw, drawn(flaw, &[rule]), rule, 5);
}

#[test]
fn an_end_that_is_told_twice_is_found() {
    let flaw = Flaw::BelievesEveryEnd;
    let rule = "a task ends once";
    is_shrunk(flaw, drawn(flaw, &[rule]), rule, 14);
}

#[test]
fn an_end_that_is_told_too_early_is_found() {
    let flaw = Flaw::TellsBeforeItIsDurable;
    let script = "seed 1\nnetwork commit=1ms..300ms\nworker w1\nworker w2\nstub f\nstub g\n\
        submit t1..t9 f\nsubmit u1..u9 g\ncrash w2 for=1s\nadvance 1600ms\nrestart gateway\n\
        advance 2s\ncut w1 for=1s\nadvance 1s\nrestart gateway\nsettle\n";
    is_shrunk(flaw, written(flaw, script), "a task ends once", 9);
}

#[test]
fn a_worker_that_keeps_what_it_should_drop_is_found() {
    let rules = ["an attempt that nobody wants is stopped", "every container comes to an end"];
    drawn(Flaw::KeepsWhatIsNotWanted, &rules);
}

#[test]
fn a_session_that_the_scheduler_has_forgotten_is_found() {
    let flaw = Flaw::KeepsSessionsOfLostWorkers;
    let script = "seed 1\nworker w1\nworker w2\nstub f\nsubmit t1..t9 f\nadvance 1s\n\
        freeze w1 for=18s\nadvance 5s\ncut w2 for=1s\ncancel t3\nadvance 20s\nsettle\n";
    is_shrunk(flaw, written(flaw, script), "every container comes to an end", 9);
}
