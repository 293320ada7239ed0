//! As much of the language of profiles as they are written in: read, and decided by.

use std::collections::VecDeque;

/// What a process asks for.
pub(super) enum Asked<'a> {
    Path(&'a str),
    Service(&'a str),
    Class(&'a str),
    /// `tcp` or `udp`, and `HOST:PORT`, where it connects or sends to.
    Remote(&'a str, &'a str),
    /// `HOST:PORT`, where it listens.
    Local(&'a str),
}

#[derive(Debug)]
enum Term {
    Word(String),
    Text(String),
    List(Vec<Term>),
}

/// The rules of a profile.
pub(super) struct Rules(Vec<Vec<Term>>);

impl Rules {
    /// Reads a profile; panics if it is not well-formed, or holds anything that is not known here.
    pub(super) fn read(text: &str) -> Self {
        let mut rest: VecDeque<char> = text
            .lines()
            .filter(|line| !line.starts_with(";;"))
            .flat_map(|line| line.chars().chain(['\n']))
            .collect();
        let mut rules = Vec::new();
        while let Some(first) = rest.iter().position(|character| !character.is_whitespace()) {
            rest.drain(..first);
            match term(&mut rest) {
                Term::List(rule) => rules.push(rule),
                other => panic!("{other:?} is outside of a rule"),
            }
        }
        assert!(matches!(&rules[1][..], [Term::Word(deny), Term::Word(all)]
            if deny == "deny" && all == "default"));
        assert!(!text.contains("allow default") || text.contains("\\\"))(allow default)"));
        Self(rules.split_off(2))
    }

    /// Whether the last rule that matches allows it.
    pub(super) fn allow(&self, operation: &str, asked: &Asked<'_>) -> bool {
        let mut allowed = false;
        for rule in &self.0 {
            let words: Vec<&str> = rule.iter().map_while(word).collect();
            let filters = &rule[words.len()..];
            let meant = words[1..].iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(prefix) => operation.starts_with(prefix),
                None => *pattern == operation,
            });
            if meant && (filters.is_empty() || filters.iter().any(|filter| matches(filter, asked)))
            {
                allowed = match words[0] {
                    "allow" => true,
                    "deny" => false,
                    other => panic!("`{other}` is no verb"),
                };
            }
        }
        allowed
    }
}

fn word(term: &Term) -> Option<&str> {
    match term {
        Term::Word(word) => Some(word),
        _ => None,
    }
}

fn term(rest: &mut VecDeque<char>) -> Term {
    match rest.pop_front().expect("the profile ends within a rule") {
        '(' => {
            let mut list = Vec::new();
            loop {
                match rest.front().expect("a list has no end") {
                    ')' => {
                        rest.pop_front();
                        return Term::List(list);
                    }
                    space if space.is_whitespace() => drop(rest.pop_front()),
                    _ => list.push(term(rest)),
                }
            }
        }
        '"' => Term::Text(string(rest, true)),
        '#' => {
            assert_eq!(rest.pop_front(), Some('"'));
            Term::Text(string(rest, false))
        }
        ')' => panic!("a list ends that has not begun"),
        first => {
            let mut word = String::from(first);
            while rest.front().is_some_and(|next| !next.is_whitespace() && !"()\"".contains(*next))
            {
                word.extend(rest.pop_front());
            }
            Term::Word(word)
        }
    }
}

fn string(rest: &mut VecDeque<char>, escapes: bool) -> String {
    let mut text = String::new();
    loop {
        match rest.pop_front().expect("a string has no end") {
            '"' => return text,
            '\\' if escapes => text.extend(rest.pop_front()),
            other => text.push(other),
        }
    }
}

fn matches(filter: &Term, asked: &Asked<'_>) -> bool {
    let Term::List(list) = filter else { panic!("{filter:?} is no filter") };
    match (&list[..], asked) {
        ([Term::Word(all), filters @ ..], _) if all == "require-all" => {
            filters.iter().all(|filter| matches(filter, asked))
        }
        ([Term::Word(kind), Term::Text(value)], Asked::Path(path)) => match kind.as_str() {
            "literal" => path == value,
            "subpath" => path.strip_prefix(value.as_str()).is_some_and(below),
            "regex" => fits(value, path),
            _ => false,
        },
        ([Term::Word(kind), Term::Text(value)], Asked::Service(name)) => match kind.as_str() {
            "global-name" | "xpc-service-name" => name == value,
            "xpc-service-name-prefix" => name.starts_with(value.as_str()),
            _ => false,
        },
        ([Term::Word(kind), Term::Text(value)], Asked::Class(name)) => {
            kind == "iokit-user-client-class" && name == value
        }
        ([Term::Word(kind), Term::Word(ip), Term::Text(value)], Asked::Remote(how, address)) => {
            let meant = ip == "ip" || ip == how;
            kind == "remote" && meant && (value == "*:*" || value == address)
        }
        ([Term::Word(kind), Term::Word(ip), Term::Text(value)], Asked::Local(address)) => {
            kind == "local" && ip == "ip" && (value == "*:*" || value == address)
        }
        _ => false,
    }
}

fn below(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('/')
}

/// The two expressions that there are: a directory of caches, any name, and perhaps Metal's own.
fn fits(pattern: &str, path: &str) -> bool {
    let (place, names) = pattern.strip_prefix('^').unwrap().split_once("/[^/]+").unwrap();
    let Some(rest) = path.strip_prefix(&format!("{}/", place.replace('\\', ""))) else {
        return false;
    };
    let mut parts = rest.split('/');
    let (program, cache) = (parts.next().unwrap_or_default(), parts.next());
    if names == "$" {
        return !program.is_empty() && cache.is_none();
    }
    assert_eq!(names, r"/com\.apple\.(metal|metalfe|gpuarchiver)(/|$)");
    let known = ["com.apple.metal", "com.apple.metalfe", "com.apple.gpuarchiver"];
    cache.is_some_and(|cache| known.contains(&cache))
}
