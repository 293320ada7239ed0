//! Whole fleets: faults drawn from seeds, fairness, and how little is lost to scheduling.

use std::time::Duration;

use metal9_sim::script::Script;
use metal9_sim::{Options, Plan, Summary, TaskReport, World};
use metal9_types::TaskStatus;

fn run(plan: Plan, options: Options) -> Summary {
    let mut world = World::new(options);
    if let Err(violation) = world.run(&plan.script()) {
        panic!("{plan:?}: {violation}\nrun `cargo xtask sim` with these figures to shrink it");
    }
    world.summary()
}

#[test]
fn small_fleets_survive_faults_with_every_step_checked() {
    for seed in 1..=6 {
        let summary = run(Plan { seed, workers: 8, tasks: 200 }, Options::default());
        assert_eq!(summary.accepted, 200);
        assert_eq!(summary.ends.values().sum::<u64>(), 200);
    }
}

#[test]
fn a_larger_fleet_survives_faults() {
    let options = Options { check_every: 500, ..Options::default() };
    let summary = run(Plan { seed: 11, workers: 100, tasks: 3000 }, options);
    assert_eq!(summary.ends.values().sum::<u64>(), 3000);
    // Otherwise the faults were none.
    assert!(summary.workers_lost > 0 && summary.restarts > 0, "{summary:?}");
    assert!(summary.retries > 20 && summary.ignored > 20, "{summary:?}");
}

#[test]
fn one_seed_is_one_run() {
    let options = Options { check_every: 100, ..Options::default() };
    let plan = Plan { seed: 5, workers: 10, tasks: 200 };
    let first = run(plan, options);
    assert_eq!(first, run(plan, options));
    assert_ne!(first.digest, run(Plan { seed: 6, ..plan }, options).digest);
}

/// Runs a script without a word and returns how its tasks went.
fn tasks(text: &str) -> Vec<TaskReport> {
    let script: Script = text.parse().expect("a script");
    let mut world = World::new(Options { check_every: 2000, ..Options::default() });
    world.run(&script).expect("no rule is broken");
    world.tasks()
}

#[test]
fn a_fan_out_of_equal_tasks_loses_less_than_two_percent() {
    let mut script = String::from("network delay=500us..2ms commit=1ms\n");
    for number in 1..=250 {
        script += &format!("worker w{number} cpu=4\n");
    }
    script += "stub f call=5s start=300ms\nadvance 1s\nsubmit t1..t10000 f\nadvance 60s\n";
    let tasks = tasks(&script);
    let last = tasks.iter().map(|task| task.ended.expect("it ended").0).max();
    let took = last.expect("there are tasks") - Duration::from_secs(1);
    // A thousand slots, ten calls each, in containers that are started once.
    let ideal = Duration::from_millis(300 + 10 * 5000);
    let efficiency = ideal.as_secs_f64() / took.as_secs_f64();
    println!("10,000 tasks on 1,000 slots took {took:?}: {:.2} % of ideal", efficiency * 100.0);
    assert!(efficiency >= 0.98, "{took:?} is {efficiency} of ideal");
}

#[test]
fn workspaces_share_a_full_fleet_whatever_they_ask_for() {
    let mut script = String::new();
    for number in 1..=10 {
        script += &format!("worker w{number} cpu=4\n");
    }
    // The first has a head start and hands in ten times as much as the second.
    script += "stub f call=400ms start=200ms\nstub g call=400ms start=200ms\n\
               submit t1..t5000 f workspace=a\nadvance 5s\nsubmit u1..u2500 g workspace=b\n\
               advance 90s\n";
    let tasks = tasks(&script);
    let between = |name: &str, from: u64, to: u64| {
        let (from, to) = (Duration::from_secs(from), Duration::from_secs(to));
        let ended = |task: &&TaskReport| {
            task.workspace == name && task.ended.is_some_and(|(at, _)| at >= from && at < to)
        };
        tasks.iter().filter(ended).count() as f64
    };
    // The second takes over a place a second, so after a while, and while both have work.
    let (first, second) = (between("a", 30, 40), between("b", 30, 40));
    let share = second / (first + second);
    println!("the second workspace had {:.0} % of what was done", share * 100.0);
    assert!((0.40..=0.60).contains(&share), "{second} of {}", first + second);
    let completed =
        |task: &TaskReport| task.ended.is_some_and(|(_, status)| status == TaskStatus::Complete);
    assert!(tasks.iter().all(completed));
}
