//! A module as this process has it: once, for it begins and ends for all keys in it together.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Function, Pkcs11};
use cryptoki::error::{Error as ModuleError, RvError};
use parking_lot::{Mutex, RwLock};

/// A module that does not find a token is ended for all keys in it no more often than that.
const REST: Duration = Duration::from_secs(5);

/// For as long as this process runs.
static MODULES: Mutex<Vec<(PathBuf, Arc<Module>)>> = Mutex::new(Vec::new());

pub(super) struct Module {
    pub(super) calls: Pkcs11,
    life: RwLock<Life>,
}

/// From its beginning to its end.
struct Life {
    /// What was opened in another one is not there any more, and something else may be called the same.
    number: u64,
    /// What other parts of the program began is theirs to end.
    is_ours: bool,
    ended: Option<Instant>,
}

impl Module {
    /// The module in this file, which has begun.
    pub(super) fn at(file: &Path) -> Result<Arc<Self>, ModuleError> {
        let file = file.canonicalize().unwrap_or_else(|_| file.into());
        let mut modules = MODULES.lock();
        let known = modules.iter().find(|(known, _)| *known == file).map(|(_, module)| Arc::clone(module));
        let module = match known {
            Some(module) => module,
            None => {
                let life = RwLock::new(Life { number: 0, is_ours: false, ended: None });
                let module = Arc::new(Self { calls: Pkcs11::new(&file)?, life });
                modules.push((file, Arc::clone(&module)));
                module
            }
        };
        let begun = module.life.write().begin(&module.calls);
        match begun {
            Ok(()) | Err(ModuleError::Pkcs11(RvError::CryptokiAlreadyInitialized, Function::Initialize)) => Ok(module),
            Err(why) => Err(why),
        }
    }

    /// Does something in one life of it, whose number it is told.
    pub(super) fn in_life<T>(&self, work: impl FnOnce(u64) -> T) -> T {
        let life = self.life.read();
        work(life.number)
    }

    /// Begins it anew where it is of no use as it is in this life, if that can be done. Whether it lives another one.
    pub(super) fn begin_anew(&self, seen: u64) -> bool {
        let mut life = self.life.write();
        if life.number != seen {
            return true;
        }
        if life.is_ours && life.ended.is_none_or(|ended| ended.elapsed() >= REST) {
            life.ended = Some(Instant::now());
            // One that somebody else has ended already says so, and begins all the same.
            let _ = self.calls.clone().finalize();
        }
        life.begin(&self.calls).is_ok()
    }
}

impl Life {
    fn begin(&mut self, calls: &Pkcs11) -> Result<(), ModuleError> {
        calls.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
        self.number += 1;
        self.is_ours = true;
        Ok(())
    }
}
