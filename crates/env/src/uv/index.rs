//! A package index: where it is, and what its page of a package says.

use std::env;

/// The index that is asked if no other is named.
const PYPI: &str = "https://pypi.org/simple";
/// What names another one, the first that is set.
const NAMES: &[&str] = &["UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"];

/// The address of an index.
pub(super) fn address() -> String {
    let named = |name: &&str| env::var(name).ok().filter(|value| !value.trim().is_empty());
    NAMES.iter().find_map(named).unwrap_or_else(|| PYPI.to_owned())
}

/// The page of a package.
pub(super) fn page(index: &str, package: &str) -> String {
    // uv lets an index have a name, as `corp=https://…`.
    let url = match index.trim().split_once('=') {
        Some((name, url)) if !name.contains([':', '/']) => url,
        _ => index.trim(),
    };
    format!("{}/{package}/", url.trim_end_matches('/'))
}

/// Where a page in HTML says that a file is.
pub(super) fn find(html: &str, page: &str, file: &str) -> Option<String> {
    let links = html.split("href").skip(1).filter_map(|rest| {
        let rest = rest.trim_start().strip_prefix('=')?.trim_start();
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        rest[1..].split(quote).next()
    });
    let mut links = links.map(|link| link.replace("&amp;", "&"));
    let is_it = |link: &String| {
        let path = link.split(['#', '?']).next().unwrap_or_default();
        path.rsplit('/').next() == Some(file)
    };
    let link = links.find(is_it)?;
    Some(absolute(page, link.split('#').next().unwrap_or_default()))
}

/// The address that a link on a page means.
fn absolute(page: &str, link: &str) -> String {
    if link.contains("://") {
        return link.to_owned();
    }
    let start = page.find("://").map_or(0, |at| at + "://".len());
    let host = page[start..].find('/').map_or(page.len(), |at| start + at);
    if link.starts_with("//") {
        return format!("{}{link}", &page[..start - "//".len()]);
    }
    if link.starts_with('/') {
        return format!("{}{link}", &page[..host]);
    }
    let mut place: Vec<&str> = page[host..].split('/').collect();
    // What follows the last slash is not a directory.
    place.pop();
    for part in link.split('/') {
        match part {
            "." => {}
            ".." => {
                if place.len() > 1 {
                    place.pop();
                }
            }
            part => place.push(part),
        }
    }
    format!("{}{}", &page[..host], place.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "https://host.example:8080/root/pypi/+simple/uv/";

    #[test]
    fn a_file_is_found_however_the_index_writes_its_links() {
        for (link, url) in [
            (
                "https://files.example/ab/uv-1-x.whl#sha256=00",
                "https://files.example/ab/uv-1-x.whl",
            ),
            ("//files.example/uv-1-x.whl", "https://files.example/uv-1-x.whl"),
            ("/f/uv-1-x.whl?a=1&amp;b=2", "https://host.example:8080/f/uv-1-x.whl?a=1&b=2"),
            (
                "../../+f/1/uv-1-x.whl#sha256=0",
                "https://host.example:8080/root/pypi/+f/1/uv-1-x.whl",
            ),
            ("./uv-1-x.whl", "https://host.example:8080/root/pypi/+simple/uv/uv-1-x.whl"),
            ("../../../../../uv-1-x.whl", "https://host.example:8080/uv-1-x.whl"),
        ] {
            let html = format!(
                "<a href=\"/f/not-uv-1-x.whl\">a</a><a data-x=\"1\"\n href = '{link}'>uv-1-x.whl</a>"
            );
            assert_eq!(find(&html, PAGE, "uv-1-x.whl").as_deref(), Some(url));
        }
        assert_eq!(find("<a href=\"uv-2-x.whl\">uv-1-x.whl</a>", PAGE, "uv-1-x.whl"), None);
        assert_eq!(find("href href= href='", PAGE, "uv-1-x.whl"), None);
    }

    #[test]
    fn the_page_of_a_package_is_below_the_index_which_may_have_a_name() {
        assert_eq!(page("https://a.example/simple/", "uv"), "https://a.example/simple/uv/");
        assert_eq!(page("corp=https://a.example/simple", "uv"), "https://a.example/simple/uv/");
        assert_eq!(page("https://a.example/s?k=v", "uv"), "https://a.example/s?k=v/uv/");
    }
}
