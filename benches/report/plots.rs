//! Plots: bars with the smallest and the largest of their rounds, and curves of latencies.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::support::results::{Curve, Measure, short};

const WIDTH: i32 = 860;
const FONT: &str = "sans-serif";
// Sizes of text, which come out a fifth smaller.
const TITLE: i32 = 20;
const TEXT: i32 = 16;
const SMALL: i32 = 15;
const MARGIN: i32 = 20;
const TITLE_HEIGHT: i32 = 44;
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(213, 94, 0),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Draws a bar for each measure, from zero, under the name of its group: those of one group beside each other.
pub fn bars(file: &Path, title: &str, measures: &[(String, &Measure)]) {
    const ROW: i32 = 22;
    const GAP: i32 = 10;
    const LABELS: i32 = 370;
    const VALUES: i32 = 130;
    let groups = measures.windows(2).filter(|pair| pair[0].0 != pair[1].0).count();
    let height = TITLE_HEIGHT
        + ROW * i32::try_from(measures.len()).expect("few bars")
        + GAP * i32::try_from(groups).expect("few groups")
        + MARGIN;
    let area = area(file, height);
    let unit = measures.first().map_or("", |(_, measure)| measure.unit.as_str());
    let is_one_unit = measures.iter().all(|(_, measure)| measure.unit == unit);
    let heading = if is_one_unit {
        format!("{title} ({unit})")
    } else {
        title.to_owned()
    };
    write(&area, &heading, (MARGIN, TITLE_HEIGHT / 2), TITLE, HPos::Left);
    let largest = measures
        .iter()
        .map(|(_, measure)| measure.spread.max)
        .fold(0.0, f64::max);
    let room = f64::from(WIDTH - LABELS - VALUES);
    let to_x = |value: f64| LABELS + (value / largest.max(f64::MIN_POSITIVE) * room) as i32;
    let mut names: Vec<&str> = Vec::new();
    let (mut top, mut group) = (TITLE_HEIGHT, None);
    for (label, measure) in measures {
        if group.is_some_and(|before| before != label) {
            top += GAP;
        }
        group = Some(label);
        let name = measure.name.as_str();
        let known = names.iter().position(|one| *one == name);
        let colour = known.unwrap_or_else(|| {
            names.push(name);
            names.len() - 1
        });
        let middle = top + ROW / 2;
        let bar = [(LABELS, top + 3), (to_x(measure.spread.median), top + ROW - 3)];
        let style = COLOURS[colour % COLOURS.len()].filled();
        area.draw(&Rectangle::new(bar, style)).expect("a bar");
        let (from, to) = (to_x(measure.spread.min), to_x(measure.spread.max));
        area.draw(&PathElement::new([(from, middle), (to, middle)], BLACK))
            .expect("a line");
        for end in [from, to] {
            let path = [(end, middle - 4), (end, middle + 4)];
            area.draw(&PathElement::new(path, BLACK)).expect("a line");
        }
        write(
            &area,
            &format!("{label}: {name}"),
            (LABELS - 8, middle),
            TEXT,
            HPos::Right,
        );
        write(
            &area,
            &short(measure.spread.median),
            (to + 8, middle),
            TEXT,
            HPos::Left,
        );
        top += ROW;
    }
    area.present().expect("a plot");
}

/// Draws how long each share of calls took at most, on a logarithmic scale.
pub fn curves(file: &Path, title: &str, curves: &[(String, &Curve)]) {
    const PLOT_HEIGHT: i32 = 300;
    const LEFT: i32 = 90;
    const LEGEND_ROW: i32 = 20;
    let rows = i32::try_from(curves.len()).expect("few curves");
    let bottom = TITLE_HEIGHT + PLOT_HEIGHT;
    let area = area(file, bottom + 40 + LEGEND_ROW * rows + MARGIN);
    write(
        &area,
        &format!("{title} (ms)"),
        (MARGIN, TITLE_HEIGHT / 2),
        TITLE,
        HPos::Left,
    );
    let values = curves
        .iter()
        .flat_map(|(_, curve)| curve.percentiles.iter().map(|point| point[1]));
    let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
    for value in values.filter(|value| *value > 0.0) {
        (least, most) = (least.min(value.log10().floor()), most.max(value.log10().ceil()));
    }
    if least >= most {
        return;
    }
    let to_y = |value: f64| {
        let share = (value.max(f64::MIN_POSITIVE).log10() - least) / (most - least);
        bottom - (share.clamp(0.0, 1.0) * f64::from(PLOT_HEIGHT)) as i32
    };
    let points = curves
        .first()
        .map_or(&[][..], |(_, curve)| &curve.percentiles[..]);
    let last = i32::try_from(points.len()).expect("few percentiles").max(2) - 1;
    let to_x = |index: usize| {
        LEFT + (WIDTH - LEFT - 40) * i32::try_from(index).expect("few percentiles") / last
    };
    let grey = RGBColor(200, 200, 200);
    for power in least as i32..=most as i32 {
        let y = to_y(10_f64.powi(power));
        area.draw(&PathElement::new([(LEFT, y), (WIDTH - 40, y)], grey))
            .expect("a line");
        write(
            &area,
            &format!("{}", 10_f64.powi(power)),
            (LEFT - 8, y),
            SMALL,
            HPos::Right,
        );
    }
    for (index, point) in points.iter().enumerate() {
        let x = to_x(index);
        area.draw(&PathElement::new([(x, TITLE_HEIGHT), (x, bottom)], grey))
            .expect("a line");
        write(
            &area,
            &format!("p{}", point[0]),
            (x, bottom + 14),
            SMALL,
            HPos::Center,
        );
    }
    for (index, (label, curve)) in curves.iter().enumerate() {
        let style = COLOURS[index % COLOURS.len()].stroke_width(2);
        let line = curve.percentiles.iter().enumerate();
        let line: Vec<_> = line.map(|(at, point)| (to_x(at), to_y(point[1]))).collect();
        area.draw(&PathElement::new(line, style)).expect("a curve");
        let y = bottom + 40 + LEGEND_ROW * i32::try_from(index).expect("few curves");
        area.draw(&PathElement::new([(LEFT, y), (LEFT + 30, y)], style))
            .expect("a line");
        write(&area, label, (LEFT + 40, y), TEXT, HPos::Left);
    }
    area.present().expect("a plot");
}

fn area(file: &Path, height: i32) -> Area<'_> {
    let size = (WIDTH.unsigned_abs(), height.unsigned_abs());
    let area = SVGBackend::new(file, size).into_drawing_area();
    area.fill(&WHITE).expect("a background");
    area
}

fn write(area: &Area<'_>, text: &str, at: (i32, i32), size: i32, side: HPos) {
    let style = TextStyle::from((FONT, size).into_font()).pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(text.to_owned(), at, style)).expect("a text");
}
