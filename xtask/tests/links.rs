//! Every relative link in the project's Markdown leads to a file that is there, and to a heading in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// One page: what it can be entered by, and where it leads.
#[derive(Debug, Default)]
struct Page {
    anchors: BTreeSet<String>,
    links: Vec<String>,
}

/// The Markdown at the root, and all of the book.
fn pages() -> BTreeMap<PathBuf, Page> {
    let mut pages = BTreeMap::new();
    let mut folders = vec![root().join("docs")];
    let at_the_root = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = at_the_root.collect();
    while let Some(folder) = folders.pop() {
        files.extend(fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
        folders.extend(files.iter().filter(|path| path.is_dir() && path.starts_with(root().join("docs"))).cloned());
        files.retain(|path| path.is_file());
    }
    for path in files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "md")) {
        let page = read(&fs::read_to_string(&path).unwrap());
        pages.insert(path, page);
    }
    pages
}

fn read(text: &str) -> Page {
    let mut page = Page::default();
    let mut heading = None::<String>;
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&text);
                }
            }
            Event::End(TagEnd::Heading(_)) => {
                let anchor = anchor(&heading.take().unwrap());
                assert!(page.anchors.insert(anchor.clone()), "two headings are #{anchor}");
            }
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => page.links.push(dest_url.into()),
            _ => {}
        }
    }
    page
}

/// As mdBook makes it, and hosts of repositories too.
fn anchor(heading: &str) -> String {
    let letters = heading.trim().chars().filter_map(|letter| match letter {
        letter if letter.is_alphanumeric() || letter == '_' || letter == '-' => Some(letter),
        letter if letter.is_whitespace() => Some('-'),
        _ => None,
    });
    letters.collect::<String>().to_lowercase()
}

/// Without `..`, for a path that need not be there.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, component| {
        match component {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            component => plain.push(component),
        }
        plain
    })
}

#[test]
fn every_link_leads_somewhere() {
    let (pages, book) = (pages(), root().join("docs"));
    let mut followed = 0;
    for (path, page) in &pages {
        for link in page.links.iter().filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
            let (file, anchor) = link.split_once('#').map_or((&**link, None), |(file, anchor)| (file, Some(anchor)));
            let target = if file.is_empty() { path.clone() } else { plain(&path.parent().unwrap().join(file)) };
            assert!(target.exists(), "{link} of {} leads nowhere", path.display());
            if let Some(anchor) = anchor {
                let page = pages.get(&target).unwrap_or_else(|| panic!("{link} of {} is no page", path.display()));
                assert!(page.anchors.contains(anchor), "{link} of {}: no such heading", path.display());
            }
            // The book has to hold together when it stands somewhere by itself.
            assert!(
                !path.starts_with(&book) || target.starts_with(&book),
                "{link} of {} leaves the book",
                path.display()
            );
            followed += 1;
        }
    }
    assert!(followed > 50, "{followed}");
}

#[test]
fn every_page_of_the_book_is_in_its_summary() {
    let book = root().join("docs");
    let pages = pages();
    let summary = &pages[&book.join("SUMMARY.md")];
    let listed: BTreeSet<_> = summary.links.iter().map(|link| book.join(link)).collect();
    let there: BTreeSet<_> =
        pages.keys().filter(|path| path.starts_with(&book) && !path.ends_with("SUMMARY.md")).cloned().collect();
    assert_eq!(listed, there);
}
