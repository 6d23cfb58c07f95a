//! Asks the addresses of the configuration in force, each at its own pace. There is one for the process.

use std::sync::Arc;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use super::{Address, checked, probe};
use crate::reload::Live;

/// Asks for ever; an address that no configuration names any more is left alone.
pub(crate) async fn look_after(live: &Live) {
    let mut asking = JoinSet::new();
    let mut asked: Vec<(Arc<Address>, AbortHandle)> = Vec::new();
    loop {
        let engine = live.engine();
        let wanted = checked(&engine.upstreams);
        asked.retain(|(known, task)| {
            let stays = wanted.iter().any(|address| Arc::ptr_eq(address, known));
            if !stays {
                task.abort();
            }
            stays
        });
        for address in wanted {
            if !asked.iter().any(|(known, _)| Arc::ptr_eq(known, address)) {
                asked.push((Arc::clone(address), asking.spawn(ask(Arc::clone(address)))));
            }
        }
        drop(engine);
        // What was given up is cleared away here.
        while asking.try_join_next().is_some() {}
        live.changed().await;
    }
}

async fn ask(address: Arc<Address>) {
    let Some(check) = &address.check else { return };
    loop {
        let outcome = probe::ask(&address.url, check).await;
        address.answered(outcome);
        sleep(check.interval).await;
    }
}
