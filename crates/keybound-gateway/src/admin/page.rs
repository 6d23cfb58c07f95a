//! The console: one page, its script and its style. They hold no data, and so need no secret.

use super::answer::{self, Answer};

/// The file at this path, if there is one.
pub(super) fn find(path: &str) -> Option<Answer> {
    Some(match path {
        "/" => answer::of("text/html; charset=utf-8", include_str!("page/console.html")),
        "/console.css" => answer::of("text/css; charset=utf-8", include_str!("page/console.css")),
        "/console.js" => answer::of("text/javascript; charset=utf-8", include_str!("page/console.js")),
        "/icon.svg" => answer::of("image/svg+xml", include_str!("page/icon.svg")),
        _ => return None,
    })
}
