//! Tokens between runs.

use keybound_client::files::TokenFiles;
use keybound_client::{Token, TokenId, TokenStore};

use crate::output;
use crate::style::{FAINT, PLAIN};

/// Whether a token is taken from the files of an earlier run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cache {
    /// Without a word.
    Used,
    /// And said, for then nothing else of the command line was put to the test.
    Shown,
    /// Not at all, only kept for the next; a session goes on all the same.
    Skipped,
}

/// The tokens in this user's files.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) files: TokenFiles,
    pub(super) cache: Cache,
}

impl TokenStore for Kept {
    fn load(&self, id: &TokenId) -> Option<Token> {
        let token = self.files.load(id)?;
        if self.cache == Cache::Skipped {
            // Of a session that is kept, the token is old and the session goes on.
            let over = token.obtained();
            return token.refresh().is_some().then(|| token.lives(over, Some(over)));
        }
        let good = token.expires().is_some() && !token.is_due(std::time::SystemTime::now().into());
        if good && self.cache == Cache::Shown {
            output::aside(format_args!(
                "{FAINT}token from the cache; the issuer is not asked (--fresh asks it){PLAIN}"
            ));
        }
        Some(token)
    }

    fn claim(&self, id: &TokenId) -> std::io::Result<Option<Box<dyn Send + Sync>>> {
        self.files.claim(id)
    }

    fn save(&self, id: &TokenId, token: &Token) -> std::io::Result<()> {
        self.files.save(id, token)
    }
}
