//! Rows that are measured while many tasks wait, and while many have ended besides.

use crate::peer::Peer;
use crate::rows::{Row, Scale, Waiting};
use crate::table::Table;

/// Fills every peer, measures in rounds, and empties them again.
pub fn measure(peers: &mut [Box<dyn Peer>], size: usize, rounds: usize, scale: &Scale, table: &mut Table) {
    let row = |what| Row::Waiting { size, what };
    let mut filled = Vec::new();
    for (at, peer) in peers.iter_mut().enumerate() {
        eprintln!("{}: filling up to {size}", peer.name());
        match peer.fill(size) {
            Ok(Some(waiting)) => filled.push((at, (waiting < size).then(|| format!("at {waiting}")))),
            Ok(None) => {}
            Err(error) => table.add(&row(Waiting::Submit), at, Err(error)),
        }
    }
    let mut go = |peers: &mut [Box<dyn Peer>], rows: &[Waiting], only: Option<usize>| {
        for _ in 0..rounds {
            for what in rows {
                for (at, note) in filled.iter().filter(|(at, _)| only.is_none_or(|only| only == *at)) {
                    let mut sample = row(*what).measure(peers[*at].as_mut(), scale);
                    if let Ok(Some(sample)) = &mut sample {
                        sample.note.clone_from(note);
                    }
                    table.add(&row(*what), *at, sample);
                }
            }
        }
    };
    go(peers, &[Waiting::Submit, Waiting::List, Waiting::Memory], None);
    if scale.backlogs.last() == Some(&size) {
        for at in 0..peers.len() {
            if let Ok(Some(())) = peers[at].age(scale.ended) {
                go(peers, &[Waiting::AgedSubmit, Waiting::AgedList], Some(at));
            }
        }
    }
    for peer in peers {
        if let Err(error) = peer.empty() {
            eprintln!("{}: {error}", peer.name());
        }
    }
}
