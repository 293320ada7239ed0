//! Making a script that fails as short as it can be while it still fails.
//!
//! Delta debugging over the steps: ever smaller runs of steps are left out, and stay out if the
//! same rule is still broken. Then the pauses between what is left are shortened.

use std::time::Duration;

use crate::script::{Command, Script, Step};
use crate::world::{Options, Violation, World};

/// A script that was made as short as it could be.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The script.
    pub script: Script,
    /// What still goes wrong in it.
    pub violation: Violation,
    /// How many runs that took.
    pub runs: usize,
}

/// Shrinks a script that breaks a rule, in at most so many runs.
#[must_use]
pub fn shrink(script: &Script, options: Options, violation: &Violation, at_most: usize) -> Shrunk {
    let shrunk = Shrunk { script: script.clone(), violation: violation.clone(), runs: 0 };
    let mut search = Search { options, at_most, best: shrunk };
    search.cut_off();
    search.leave_out();
    let singly = search.best.script.singly();
    if singly.steps.len() > search.best.script.steps.len() && search.attempt(singly) {
        search.leave_out();
    }
    search.shorten_pauses();
    // A shorter pause may have made something needless.
    search.leave_out();
    search.cut_off();
    search.best
}

struct Search {
    options: Options,
    at_most: usize,
    best: Shrunk,
}

impl Search {
    /// Takes the script for the best one if it still breaks the rule.
    fn attempt(&mut self, script: Script) -> bool {
        if self.best.runs >= self.at_most {
            return false;
        }
        self.best.runs += 1;
        let options = Options { trace: false, ..self.options };
        match World::new(options).run(&script) {
            Err(violation) if violation.rule == self.best.violation.rule => {
                self.best.script = script;
                self.best.violation = violation;
                true
            }
            _ => false,
        }
    }

    /// Leaves out what comes after the rule is broken. Nothing is counted before a `settle` ends,
    /// so in a script with one that is left to [`Search::leave_out`].
    fn cut_off(&mut self) {
        let mut script = self.best.script.clone();
        let until = self.best.violation.at;
        let settles = |step: &Step| matches!(step.command, Command::Settle);
        let first = script.steps.iter().position(settles);
        if first.is_none_or(|first| script.steps[first].at > until) {
            script.steps.retain(|step| step.at <= until);
            script.end = Duration::from_millis(u64::try_from(until.as_millis()).unwrap_or(0) + 1);
        } else if first.is_some_and(|first| first + 1 == script.steps.len()) {
            script.end = script.steps.last().map(|step| step.at).unwrap_or_default();
        }
        self.attempt(script);
    }

    fn without(&self, from: usize, count: usize) -> Script {
        let mut script = self.best.script.clone();
        let to = (from + count).min(script.steps.len());
        script.steps.drain(from..to);
        script
    }

    /// Leaves out runs of steps, from large ones to single ones.
    fn leave_out(&mut self) {
        let mut size = self.best.script.steps.len().div_ceil(2);
        while size > 0 {
            let mut index = 0;
            let mut found = false;
            while index < self.best.script.steps.len() && self.best.runs < self.at_most {
                let candidate = self.without(index, size);
                if self.attempt(candidate) {
                    found = true;
                } else {
                    index += size;
                }
            }
            if size == 1 && !found {
                return;
            }
            size = if size == 1 { 1 } else { size.div_ceil(2) };
            if self.best.runs >= self.at_most {
                return;
            }
        }
    }

    /// Takes out each pause, or rounds it to something a person can read.
    fn shorten_pauses(&mut self) {
        let mut index = 0;
        while index < self.best.script.steps.len() {
            let steps = &self.best.script.steps;
            let before = if index == 0 { Duration::ZERO } else { steps[index - 1].at };
            let pause = steps[index].at - before;
            if !pause.is_zero() {
                let seconds = Duration::from_secs(pause.as_secs());
                let more = seconds + Duration::from_secs(1);
                for shorter in [Duration::ZERO, seconds, more] {
                    if shorter != pause && self.attempt(self.with_pause(index, pause, shorter)) {
                        break;
                    }
                }
            }
            index += 1;
        }
    }

    /// The script with another pause before a step; all later ones move with it.
    fn with_pause(&self, index: usize, pause: Duration, instead: Duration) -> Script {
        let mut script = self.best.script.clone();
        for step in &mut script.steps[index..] {
            step.at = step.at - pause + instead;
        }
        script.end = (script.end + instead).saturating_sub(pause);
        script
    }
}
