//! What the page has of each bench: a few words, and plots of what it has measured.

use std::path::Path;

use crate::plots;
use crate::support::results::{Curve, Measure, Report};

/// A bench, as the page tells about it.
pub struct Section {
    pub bench: &'static str,
    pub title: &'static str,
    pub text: &'static str,
    plots: &'static [Plot],
}

/// A plot of a bench.
enum Plot {
    /// Bars of the measures with these names, in this order, in cases that contain a text.
    Bars {
        file: &'static str,
        title: &'static str,
        names: &'static [&'static str],
        case: &'static str,
    },
    /// Curves of the latencies with a name.
    Curves {
        file: &'static str,
        title: &'static str,
        name: &'static str,
    },
}

/// The benches in the order of the page.
pub const SECTIONS: [Section; 10] = [
    Section {
        bench: "reads",
        title: "Reads",
        text: "Calls with all layers on (authorization, metrics, deadlines) next to an empty call to a bare server of the same \
               stack. The load of 128 in flight is made on half of the cores. The tail of the empty call is of the same rounds.",
        plots: &[
            Plot::Bars {
                file: "reads",
                title: "Calls per second, 32 in flight",
                names: &["no-op RPC", "GetUser", "LookupUser", "GetMe", "IntrospectToken"],
                case: "32 in flight",
            },
            Plot::Curves {
                file: "reads_tail",
                title: "GetUser, 128 in flight",
                name: "GetUser",
            },
        ],
    },
    Section {
        bench: "sign_ins",
        title: "Sign-ins",
        text: "Sign-ins at cost 12 next to `bcrypt::verify` of the bcrypt crate on the same cores.",
        plots: &[Plot::Bars {
            file: "sign_ins",
            title: "At saturation, per second",
            names: &["bcrypt::verify on all cores", "sign-ins"],
            case: "saturated",
        }],
    },
    Section {
        bench: "storm",
        title: "A storm of sign-ins",
        text: "Ten times as many sign-ins are offered as can be served; everybody else goes on. Latencies count from when a call \
               was due.",
        plots: &[
            Plot::Curves {
                file: "storm_reads",
                title: "GetUser at a steady pace",
                name: "GetUser",
            },
            Plot::Curves {
                file: "storm_refusals",
                title: "Refused sign-ins",
                name: "refusals",
            },
        ],
    },
    Section {
        bench: "tokens",
        title: "Refreshing tokens",
        text: "RefreshTokens next to commits of one row and to what an exchange is for the database alone, with the same \
               durability, and next to an empty call, as many at the same time. An exchange changes a session and adds a \
               token, with their indexes and references, where a commit changes one row: compare what the database alone \
               makes of it. A bare exchange is a call that makes the same exchange in the database and does nothing else: \
               what RefreshTokens would be if all of its own work were free.",
        plots: &[Plot::Bars {
            file: "tokens",
            title: "Per second",
            names: &[
                "no-op RPC",
                "commits of one row",
                "exchanges by the database alone",
                "bare exchange",
                "RefreshTokens",
            ],
            case: "session",
        }],
    },
    Section {
        bench: "growth",
        title: "Growth",
        text: "The same calls on databases of different sizes, on users at random. Next to them, without a target: what a \
               SELECT of the database alone costs, and what an empty call and that SELECT would make one after the other.",
        plots: &[Plot::Bars {
            file: "growth",
            title: "Calls per second, 32 in flight",
            names: &[
                "GetUser",
                "LookupUser",
                "a page of ListUsers",
                "sign-in bookkeeping",
            ],
            case: "users",
        }],
    },
    Section {
        bench: "footprint",
        title: "Footprint",
        text: "Resident memory, and the time from the start of the process until the health says SERVING.",
        plots: &[],
    },
    Section {
        bench: "peers",
        title: "Peers",
        text: "fastapi-users, Django with its REST framework and better-auth, each at bcrypt cost 12 on the same PostgreSQL \
               server, with as many calls in flight as suit it best. The load is made on half of the cores. Questions are \
               asked at the same pace in a storm and, for comparison, while nothing else happens; so are empty calls to a \
               bare server, which ask no database.",
        plots: &[
            Plot::Bars {
                file: "peers_sign_ins",
                title: "Sign-ins at saturation",
                names: &["sign-ins"],
                case: "",
            },
            Plot::Bars {
                file: "peers_who_am_i",
                title: "“Who am I”",
                names: &["who am I"],
                case: "",
            },
            Plot::Curves {
                file: "peers_storm",
                title: "“Who am I” at a steady pace in a storm of sign-ins",
                name: "who am I in a sign-in storm",
            },
            Plot::Bars {
                file: "peers_memory",
                title: "Idle memory, all processes",
                names: &["idle memory"],
                case: "",
            },
            Plot::Bars {
                file: "peers_start",
                title: "Start to first answer",
                names: &["start to first answer"],
                case: "",
            },
        ],
    },
    Section {
        bench: "imports",
        title: "Imports",
        text: "Users who bring their hashes, next to one statement of the database.",
        plots: &[],
    },
    Section {
        bench: "watch",
        title: "Watching",
        text: "How soon a change reaches those who watch, and what watchers cost while nothing happens.",
        plots: &[],
    },
    Section {
        bench: "connections",
        title: "Connections",
        text: "Thousands of connections, good and hostile.",
        plots: &[],
    },
];

impl Section {
    /// Draws the plots, and returns their names with their titles.
    pub fn draw(&self, report: &Report, folder: &Path) -> Vec<(&'static str, &'static str)> {
        let mut drawn = Vec::new();
        for plot in self.plots {
            match plot {
                Plot::Bars {
                    file,
                    title,
                    names,
                    case,
                } => {
                    let measures = pick(report, names, case);
                    if !measures.is_empty() {
                        plots::bars(&folder.join(format!("{file}.svg")), title, &measures);
                        drawn.push((*file, *title));
                    }
                }
                Plot::Curves { file, title, name } => {
                    let curves: Vec<(String, &Curve)> = report
                        .curves
                        .iter()
                        .filter(|curve| curve.name == *name && !curve.percentiles.is_empty())
                        .map(|curve| (format!("{}, {}", curve.database, curve.case), curve))
                        .collect();
                    if !curves.is_empty() {
                        plots::curves(&folder.join(format!("{file}.svg")), title, &curves);
                        drawn.push((*file, *title));
                    }
                }
            }
        }
        drawn
    }
}

/// Picks measures, those of one database and case beside each other.
fn pick<'a>(report: &'a Report, names: &[&str], case: &str) -> Vec<(String, &'a Measure)> {
    let mut groups: Vec<(String, Vec<&Measure>)> = Vec::new();
    for measure in &report.measures {
        if !names.contains(&measure.name.as_str()) || !measure.case.contains(case) {
            continue;
        }
        let label = format!("{}, {}", measure.database, measure.case);
        match groups.iter_mut().find(|(known, _)| *known == label) {
            Some((_, members)) => members.push(measure),
            None => groups.push((label, vec![measure])),
        }
    }
    let in_order = |measure: &&Measure| names.iter().position(|name| *name == measure.name);
    let mut picked = Vec::new();
    for (label, mut members) in groups {
        members.sort_by_key(in_order);
        picked.extend(members.into_iter().map(|measure| (label.clone(), measure)));
    }
    picked
}
