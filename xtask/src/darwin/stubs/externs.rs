//! Foreign declarations in Rust sources.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ExprLit, ForeignItem, ItemForeignMod, Lit, Macro, Meta};

use super::Library;

/// What a package declares.
#[derive(Debug, Default)]
pub(super) struct Externs {
    /// What it links against.
    pub(super) libraries: BTreeSet<Library>,
    /// Names, with the library if their block says which.
    pub(super) symbols: BTreeMap<String, Option<Library>>,
}

/// Macros of `objc2` whose content is declarations of functions.
const MACROS: [&str; 2] = ["extern_c", "extern_c_unwind"];

impl Externs {
    /// Adds what a Rust file declares; a file that is not Rust declares nothing.
    pub(super) fn read_file(&mut self, text: &str) {
        // Parsing takes its time, and few files of few packages declare anything.
        if ["extern \"C", "extern_c"].iter().any(|word| text.contains(word))
            && let Ok(file) = syn::parse_file(text)
        {
            self.visit_file(&file);
        }
    }

    /// Adds the frameworks that a build script asks for.
    pub(super) fn read_build_script(&mut self, text: &str) {
        for (at, mark) in text.match_indices("rustc-link-lib=framework=") {
            let rest = &text[at + mark.len()..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
            if end > 0 {
                self.libraries.insert(Library::Framework(rest[..end].to_owned()));
            }
        }
    }

    fn declare(&mut self, item: &ForeignItem, library: Option<&Library>) {
        let (attributes, name) = match item {
            ForeignItem::Fn(function) => (&function.attrs, &function.sig.ident),
            ForeignItem::Static(value) => (&value.attrs, &value.ident),
            _ => return,
        };
        let renamed = attributes.iter().find_map(|attribute| match &attribute.meta {
            Meta::NameValue(pair) if pair.path.is_ident("link_name") => string(&pair.value),
            _ => None,
        });
        let name = renamed.unwrap_or_else(|| name.to_string());
        self.symbols.insert(name, library.cloned());
    }
}

impl Visit<'_> for Externs {
    fn visit_item_foreign_mod(&mut self, block: &ItemForeignMod) {
        let library = block.attrs.iter().find_map(linked);
        self.libraries.extend(library.clone());
        for item in &block.items {
            self.declare(item, library.as_ref());
        }
        visit::visit_item_foreign_mod(self, block);
    }

    fn visit_macro(&mut self, call: &Macro) {
        let name = call.path.segments.last().map(|segment| segment.ident.to_string());
        if !name.is_some_and(|name| MACROS.contains(&name.as_str())) {
            return;
        }
        // The content without what the macro adds is a block without its head.
        let content = &call.tokens;
        let block: Result<ItemForeignMod, _> =
            syn::parse2(quote::quote!(unsafe extern "C" { #content }));
        if let Ok(block) = block {
            self.visit_item_foreign_mod(&block);
        }
    }
}

/// The library of `#[link(name = "…", kind = "framework")]`, also within `cfg_attr`.
fn linked(attribute: &Attribute) -> Option<Library> {
    library(&attribute.meta)
}

fn library(meta: &Meta) -> Option<Library> {
    let Meta::List(list) = meta else { return None };
    let inner = list
        .parse_args_with(syn::punctuated::Punctuated::<Meta, syn::Token![,]>::parse_terminated)
        .ok()?;
    if list.path.is_ident("cfg_attr") {
        return inner.iter().skip(1).find_map(library);
    }
    if !list.path.is_ident("link") {
        return None;
    }
    let value = |key: &str| {
        inner.iter().find_map(|meta| match meta {
            Meta::NameValue(pair) if pair.path.is_ident(key) => string(&pair.value),
            _ => None,
        })
    };
    match (value("name")?, value("kind").as_deref()) {
        (name, Some("framework")) => Some(Library::Framework(name)),
        (name, _) if name == "objc" => Some(Library::Objc),
        _ => None,
    }
}

fn string(value: &Expr) -> Option<String> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Externs {
        let mut externs = Externs::default();
        externs.read_file(text);
        externs
    }

    #[test]
    fn functions_and_statics_are_found_by_the_name_they_are_linked_by() {
        let externs = read(
            r#"extern "C" {
                   #[link_name = "open$NOCANCEL"] pub fn open(); pub static mut kThing: u32;
               }"#,
        );
        assert_eq!(externs.symbols.keys().collect::<Vec<_>>(), ["kThing", "open$NOCANCEL"]);
    }

    #[test]
    fn a_conditional_link_counts() {
        let externs = read(
            r#"#[cfg_attr(feature = "link", link(name = "CoreFoundation", kind = "framework"))]
               extern "C" { fn CFRelease(); }"#,
        );
        let library = Library::Framework("CoreFoundation".to_owned());
        assert_eq!(externs.symbols["CFRelease"], Some(library));
    }

    #[test]
    fn macros_of_objc2_are_looked_into() {
        let externs = read(
            r#"extern_c! {
                   /// Documentation.
                   pub unsafe fn objc_msgSend(); fn sel_getName(sel: Sel) -> *const c_char;
               }"#,
        );
        assert_eq!(externs.symbols.len(), 2);
    }

    #[test]
    fn the_runtime_and_the_frameworks_of_build_scripts_are_libraries() {
        let mut externs = read(r#"#[link(name = "objc", kind = "dylib")] extern "C" {}"#);
        externs.read_build_script(r#"println!("cargo:rustc-link-lib=framework=IOKit");"#);
        let libraries = [Library::Framework("IOKit".to_owned()), Library::Objc];
        assert_eq!(externs.libraries, libraries.into());
    }
}
