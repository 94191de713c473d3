//! The picture of a plot.
//!
//! plotters measures no text here, for it has no fonts: margins for labels are fixed, and wide enough for the labels that [`Unit::text`]
//! gives. A colour is drawn as a number that stands for a variable of the page, and exchanged for it at the end.

use super::windows;
use super::{Plot, Shape, Unit, XAxis, YAxis};
use crate::date::rfc3339;
use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::ops::Range;

/// The size of a picture, in pixels.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub width: u32,
    pub height: u32,
}

/// For labels, in pixels.
const FONT: u32 = 14;
const LEFT: u32 = 72;
/// Half of the longest label of an axis: one stands at its very end.
const RIGHT: u32 = 30;
const BOTTOM: u32 = 28;
/// A row of fault names.
const ROW: u32 = 17;
/// Lines have as many colours; further ones begin anew.
pub const COLOURS: usize = 8;

/// The colour of the page's variable `--plot-<index>`.
fn colour(index: usize) -> RGBColor {
    RGBColor(1, 2, 16 + (index % COLOURS) as u8)
}

const TEXT: RGBColor = RGBColor(1, 2, 1);
const GRID: RGBColor = RGBColor(1, 2, 2);
const FAULT: RGBColor = RGBColor(1, 2, 3);

/// Exchanges numbers for variables.
fn with_variables(svg: &str) -> String {
    let mut svg = svg.to_owned();
    let hex = |c: RGBColor| format!("\"#{:02X}{:02X}{:02X}\"", c.0, c.1, c.2);
    let named = [(TEXT, "soft"), (GRID, "line"), (FAULT, "fault")];
    for (number, name) in named {
        svg = svg.replace(&hex(number), &format!("\"var(--{name})\""));
    }
    for index in 0..COLOURS {
        svg = svg.replace(&hex(colour(index)), &format!("\"var(--plot-{index})\""));
    }
    svg
}

/// An axis whose lines and labels stand where we say.
#[derive(Clone)]
struct Axis {
    range: Range<f64>,
    logarithmic: bool,
    ticks: Vec<f64>,
}

impl Axis {
    fn place(&self, value: f64) -> f64 {
        let (from, to) = (self.range.start, self.range.end);
        match self.logarithmic {
            true => (value.max(from).ln() - from.ln()) / (to.ln() - from.ln()),
            false => (value - from) / (to - from),
        }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let place = self.place(*value).clamp(0.0, 1.0);
        limit.0 + (f64::from(limit.1 - limit.0) * place).round() as i32
    }

    fn key_points<H: KeyPointHint>(&self, _: H) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format(value: &f64) -> String {
        value.to_string()
    }
}

/// Round numbers: 1, 2 or 5 times a power of ten, at most so many between 0 and the end.
fn round_steps(end: f64, most: usize) -> Vec<f64> {
    let raw = end / most as f64;
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|n| n * power).into_iter().find(|step| *step >= raw * 0.999);
    let step = step.unwrap_or(10.0 * power);
    (0..).map(|n| f64::from(n) * step).take_while(|tick| *tick <= end * 1.000_1).collect()
}

/// Round numbers of the largest unit of bytes that fits.
fn binary_steps(end: f64, most: usize) -> Vec<f64> {
    let unit = 1_024f64.powf(end.max(1.0).log(1_024.0).floor());
    round_steps(end / unit, most).into_iter().map(|tick| tick * unit).collect()
}

/// Steps of time that people count in.
fn time_steps(end: f64, most: usize) -> Vec<f64> {
    const STEPS: &[f64] = &[
        1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0,
        21_600.0, 43_200.0, 86_400.0,
    ];
    let Some(step) = STEPS.iter().find(|step| end / **step <= most as f64) else { return round_steps(end, most) };
    (0..).map(|n| f64::from(n) * step).take_while(|tick| *tick <= end * 1.000_1).collect()
}

fn time_text(seconds: f64, end: f64) -> String {
    let whole = seconds.round() as u64;
    match end {
        e if e <= 180.0 => format!("{whole} s"),
        e if e <= 3.0 * 3_600.0 => format!("{}:{:02}", whole / 60, whole % 60),
        _ => format!("{} h", super::trimmed(seconds / 3_600.0)),
    }
}

const DAY: f64 = 86_400.0;

/// Hours or days that people count in, between two times.
fn date_steps(from: f64, to: f64, most: usize) -> Vec<f64> {
    let steps = [0.25, 1.0, 3.0, 6.0, 12.0, 24.0, 48.0, 168.0, 336.0, 720.0, 2_160.0, 8_760.0]
        .map(|hours| hours * 3_600.0);
    let step = steps.into_iter().find(|step| (to - from) / step <= most as f64).unwrap_or(3_650.0 * DAY);
    let first = (from / step).ceil() as i64;
    (first..).map(|n| n as f64 * step).take_while(|tick| *tick <= to).collect()
}

fn date_text(at: f64, span: f64) -> String {
    let text = rfc3339(at as i64, 0);
    match span / DAY {
        days if days < 2.0 => text[5..16].replace('T', " "),
        days if days < 500.0 => text[5..10].to_owned(),
        _ => text[..7].to_owned(),
    }
}

/// A tail as people write percentiles: 0, 90, 99, 99.9.
fn nines_text(nines: f64) -> String {
    match nines.round() as usize {
        0 => "0 %".to_owned(),
        1 => "90 %".to_owned(),
        2 => "99 %".to_owned(),
        n => format!("99.{} %", "9".repeat(n - 2)),
    }
}

/// Gives a value of an axis as text.
type Labels = Box<dyn Fn(&f64) -> String>;

fn x_axis(plot: &Plot, size: Size) -> (Axis, Labels) {
    match plot.x {
        XAxis::Seconds(end) => {
            let end = end.max(1.0);
            let most = (size.width / 90) as usize;
            let axis = Axis { range: 0.0..end, logarithmic: false, ticks: time_steps(end, most.max(2)) };
            (axis, Box::new(move |seconds| time_text(*seconds, end)))
        }
        XAxis::Nines(end) => {
            let end = end.max(1.0);
            let ticks = (0..=end as u32).map(f64::from).collect();
            (Axis { range: 0.0..end, logarithmic: false, ticks }, Box::new(|nines| nines_text(*nines)))
        }
        XAxis::Dates(from, to) => {
            // A single date has room around it.
            let (from, to) = if to - from < 3_600.0 { (from - 1_800.0, from + 1_800.0) } else { (from, to) };
            let ticks = date_steps(from, to, (size.width / 110).max(2) as usize);
            let axis = Axis { range: from..to, logarithmic: false, ticks };
            (axis, Box::new(move |at| date_text(*at, to - from)))
        }
        XAxis::Count(end, _) => {
            let ticks = round_steps(end.max(1.0), (size.width / 90).max(2) as usize);
            // Of things there are no halves.
            let ticks = ticks.into_iter().filter(|tick| tick.fract() == 0.0).collect();
            let axis = Axis { range: 0.0..end.max(1.0), logarithmic: false, ticks };
            (axis, Box::new(|count| super::Unit::Count.text(*count)))
        }
    }
}

fn y_axis(plot: &Plot) -> Axis {
    let stacked = plot.lines.iter().any(|line| line.shape == Shape::Stacked);
    let values = || plot.lines.iter().flat_map(|line| line.points.iter().map(|(_, y)| *y));
    let most = match stacked {
        true => stack(plot).last().into_iter().flatten().map(|(_, y)| *y).fold(0.0, f64::max),
        false => values().fold(0.0, f64::max),
    };
    match plot.y {
        YAxis::Linear => {
            let most = if most > 0.0 { most * 1.05 } else { 1.0 };
            let ticks = match plot.unit {
                Unit::Bytes | Unit::BytesPerSecond => binary_steps(most, 5),
                Unit::Count | Unit::PerSecond | Unit::Milliseconds | Unit::Times | Unit::Percent => {
                    round_steps(most, 5)
                }
            };
            Axis { range: 0.0..most, logarithmic: false, ticks }
        }
        YAxis::Logarithmic => {
            let least = values().filter(|y| *y > 0.0).fold(f64::INFINITY, f64::min).min(most);
            let from = if least.is_finite() && least > 0.0 { 10f64.powf(least.log10().floor()) } else { 1.0 };
            let to = 10f64.powf((most.max(from * 1.01)).log10().ceil()).max(from * 10.0);
            let decades = (to / from).log10().round() as i32;
            let every = 1 + decades / 7;
            let ticks = (0..=decades).step_by(every as usize).map(|n| from * 10f64.powi(n)).collect();
            Axis { range: from..to, logarithmic: true, ticks }
        }
    }
}

/// Lines on top of each other, the lowest first.
fn stack(plot: &Plot) -> Vec<Vec<(f64, f64)>> {
    let mut sums: Vec<Vec<(f64, f64)>> = Vec::new();
    for line in &plot.lines {
        let below = sums.last();
        let on_top = line
            .points
            .iter()
            .enumerate()
            .map(|(n, (x, y))| (*x, y + below.and_then(|below| below.get(n)).map_or(0.0, |(_, y)| *y)));
        sums.push(on_top.collect());
    }
    sums
}

/// The picture, as an `svg` element.
pub fn svg(plot: &Plot, size: Size) -> String {
    let mut out = String::new();
    {
        let root = SVGBackend::with_string(&mut out, (size.width, size.height)).into_drawing_area();
        // A string takes all that is written, and all that is drawn lies within its area.
        draw(plot, size, &root).expect("drawing into memory does not fail");
        root.present().expect("drawing into memory does not fail");
    }
    let sized = format!("<svg width=\"{}\" height=\"{}\" ", size.width, size.height);
    with_variables(&out.replacen(&sized, "<svg aria-hidden=\"true\" ", 1))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type DrawError<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;

fn draw<'a>(plot: &Plot, size: Size, root: &Area<'a>) -> Result<(), DrawError<'a>> {
    let ((x, x_text), y) = (x_axis(plot, size), y_axis(plot));
    let width = f64::from(size.width - LEFT - RIGHT);
    let names = windows::place(&plot.windows, width, |t| x.place(t) * width);
    let rows = names.iter().map(|name| name.row + 1).max().unwrap_or(0);
    let top = 8 + rows as u32 * ROW;
    let unit = plot.unit;
    let y_text = move |value: &f64| unit.text(*value);
    let mut chart = ChartBuilder::on(root)
        .margin_top(top)
        .margin_right(RIGHT)
        .x_label_area_size(BOTTOM)
        .y_label_area_size(LEFT)
        .build_cartesian_2d(x.clone(), y.clone())?;
    let font = ("sans-serif", FONT).into_font().color(&TEXT);
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .label_style(font.clone())
        .x_label_formatter(&*x_text)
        .y_label_formatter(&y_text)
        .draw()?;
    for window in &plot.windows {
        let (from, until) = (window.from, window.until.max(window.from));
        let corners = [(from, y.range.start), (until, y.range.end)];
        chart.draw_series([Rectangle::new(corners, FAULT.mix(0.16).filled())])?;
        chart.draw_series([PathElement::new(vec![(from, y.range.start), (from, y.range.end)], FAULT.mix(0.5))])?;
    }
    let floor = y.range.start;
    let stacked = stack(plot);
    // Of stacked areas the tallest first: the others cover what is below them.
    for (index, line) in plot.lines.iter().enumerate().rev() {
        let colour = colour(index);
        let points = if line.shape == Shape::Stacked { &stacked[index] } else { &line.points };
        let points = points.iter().copied();
        match line.shape {
            Shape::Line => chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))?,
            Shape::Dotted => {
                chart.draw_series(LineSeries::new(points, colour.filled().stroke_width(2)).point_size(4))?
            }
            Shape::Area => {
                chart.draw_series(AreaSeries::new(points, floor, colour.mix(0.25)).border_style(colour))?
            }
            Shape::Stacked => chart.draw_series(AreaSeries::new(points, floor, colour).border_style(colour))?,
        };
    }
    let style = font.pos(Pos::new(HPos::Left, VPos::Top));
    for name in names {
        let at = (LEFT as i32 + name.left as i32, 4 + (name.row as u32 * ROW) as i32);
        root.draw(&Text::new(name.name, at, style.clone()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Line, Unit, Window};
    use super::*;

    fn plot(shape: Shape, y: YAxis) -> Plot {
        let line = |name: &str, by: f64| Line {
            name: name.into(),
            shape,
            points: (0..60).map(|n| (f64::from(n), by * (1.0 + f64::from(n % 7)))).collect(),
        };
        Plot {
            id: "test".into(),
            title: "A test".into(),
            x: XAxis::Seconds(60.0),
            y,
            unit: Unit::Milliseconds,
            lines: vec![line("p50", 1.0), line("max", 900.0)],
            windows: vec![Window { name: "crash-1 <&>".into(), from: 5.0, until: 9.0 }],
            words: String::new(),
        }
    }

    #[test]
    fn the_same_plot_is_the_same_bytes_without_a_colour_of_its_own() {
        for (shape, y) in
            [(Shape::Line, YAxis::Logarithmic), (Shape::Area, YAxis::Linear), (Shape::Stacked, YAxis::Linear)]
        {
            let (plot, size) = (plot(shape, y), Size { width: 900, height: 300 });
            let svg = svg(&plot, size);
            assert_eq!(svg, super::svg(&plot, size));
            assert!(!svg.contains("\"#"), "{svg}");
            assert!(svg.contains("var(--plot-0)") && svg.contains("crash-1 &lt;&amp;&gt;"), "{svg}");
            assert!(svg.starts_with("<svg aria-hidden") && !svg.contains("<script"), "{svg}");
        }
    }

    #[test]
    fn an_empty_plot_has_axes() {
        let mut plot = plot(Shape::Line, YAxis::Logarithmic);
        plot.lines.iter_mut().for_each(|line| line.points.clear());
        assert!(svg(&plot, Size { width: 358, height: 240 }).contains("<text"));
    }

    #[test]
    fn steps_are_round() {
        assert_eq!(round_steps(105.0, 5), [0.0, 50.0, 100.0]);
        assert_eq!(binary_steps(70.0 * 1_048_576.0, 5), [0.0, 20.0, 40.0, 60.0].map(|mib| mib * 1_048_576.0));
        assert_eq!(time_steps(83.0, 6), [0.0, 15.0, 30.0, 45.0, 60.0, 75.0]);
        assert_eq!([0.0, 1.0, 2.0, 3.0, 5.0].map(nines_text), ["0 %", "90 %", "99 %", "99.9 %", "99.999 %"]);
        assert_eq!(time_text(90.0, 400.0), "1:30");
    }
}
