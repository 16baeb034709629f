//! The latency distributions as a picture: fraction of calls (y) answered within a time (x, logarithmic).

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use plotters::prelude::*;

use super::Report;
use crate::series::Summary;
use crate::start::Family;

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlotError {
    /// The run has no reply to draw.
    #[error("nothing to draw: no call was answered")]
    Empty,
    /// Drawing failed.
    #[error("the plot could not be drawn: {0}")]
    Draw(String),
    /// The file can't be written.
    #[error("{} can't be written: {source}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
}

struct Curve<'a> {
    label: String,
    color: RGBColor,
    times: &'a Summary,
}

/// Cold families from blue to violet, warm ones from red to yellow, so that a glance tells them apart.
const COLD: [RGBColor; 4] = [
    RGBColor(31, 90, 180),
    RGBColor(23, 160, 190),
    RGBColor(110, 60, 170),
    RGBColor(20, 40, 90),
];
const WARM: [RGBColor; 4] = [
    RGBColor(214, 60, 40),
    RGBColor(240, 150, 20),
    RGBColor(150, 30, 60),
    RGBColor(230, 190, 40),
];
/// More curves than this can't be told apart.
const MOST_CURVES: usize = 16;
const OTHER: RGBColor = RGBColor(120, 120, 120);

/// Draws the report into an SVG file.
pub(crate) fn write(report: &Report, path: &Path) -> Result<(), PlotError> {
    let mut svg = String::new();
    draw(report, &mut svg)?;
    std::fs::write(path, svg).map_err(|source| PlotError::Write {
        path: path.to_owned(),
        source,
    })
}

fn draw(report: &Report, svg: &mut String) -> Result<(), PlotError> {
    let curves = curves(report);
    let times = || {
        curves
            .iter()
            .flat_map(|curve| curve.times.cdf.iter().map(|point| point.0))
    };
    let low = times().fold(f64::INFINITY, f64::min).max(1e-3);
    let high = times().fold(0.0, f64::max).max(low * 1.01);
    if curves.is_empty() {
        return Err(PlotError::Empty);
    }
    render(&curves, low / 1.2..high * 1.2, svg).map_err(|error| PlotError::Draw(error.to_string()))
}

fn render(
    curves: &[Curve<'_>],
    range: std::ops::Range<f64>,
    svg: &mut String,
) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::with_string(svg, (960, 560)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption("Latency of calls, cold against warm", ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(46)
        .y_label_area_size(64)
        .build_cartesian_2d(range.log_scale(), 0.0..1.0)?;
    chart
        .configure_mesh()
        .x_desc("ms, from the intended send time to the last byte (logarithmic)")
        .y_desc("fraction of calls answered")
        .x_labels(24)
        .x_label_formatter(&|ms| format!("{ms}"))
        .y_label_formatter(&|fraction| format!("{fraction:.1}"))
        .light_line_style(RGBColor(238, 238, 238))
        .draw()?;
    for curve in curves {
        let color = curve.color;
        chart
            .draw_series(LineSeries::new(curve.times.cdf.iter().copied(), color.stroke_width(2)))?
            .label(&curve.label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(200, 200, 200))
        .draw()?;
    root.present()?;
    drop(chart);
    Ok(())
}

/// One curve for each function, way of calling and start type. Where those are too many, only the first way of each
/// function and start type, and of those the first.
fn curves(report: &Report) -> Vec<Curve<'_>> {
    let runs = report.functions.iter().flat_map(|function| {
        let runs = function.runs().into_iter();
        runs.flat_map(move |(scenario, run)| run.starts.iter().map(move |start| (function, scenario, start)))
    });
    let mut runs: Vec<_> = runs.collect();
    if runs.len() > MOST_CURVES {
        let mut seen = HashSet::new();
        runs.retain(|(function, _, start)| seen.insert((&function.function, start.start.name())));
        runs.truncate(MOST_CURVES);
    }
    let mut curves = Vec::new();
    let (mut cold, mut warm) = (COLD.iter().cycle(), WARM.iter().cycle());
    for (function, scenario, start) in runs {
        let color = match start.start.family() {
            Family::Cold => cold.next(),
            Family::Warm => warm.next(),
            Family::Unsaid => None,
        };
        let label = format!(
            "{}, {scenario} calls: {} ({})",
            function.function,
            start.start.name(),
            start.latency.count
        );
        curves.push(Curve {
            label,
            color: color.copied().unwrap_or(OTHER),
            times: &start.latency,
        });
    }
    curves
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_a_curve_for_each_start_type() {
        let mut svg = String::new();
        draw(&crate::report::sample::report(), &mut svg).unwrap();
        assert!(svg.starts_with("<svg"));
        assert!(svg.trim_end().ends_with("</svg>"));
        assert!(svg.contains("hello, cold calls: cold (20)"));
        assert!(svg.contains("hello, warm calls: warm (20)"));
        assert!(!svg.contains("NaN"));
    }

    #[test]
    fn many_ways_of_calling_are_thinned_out() {
        let mut report = crate::report::sample::report();
        let function = report.functions[0].clone();
        for at in 0..40 {
            report.functions.push(crate::report::FunctionReport {
                function: format!("f{}", at / 10),
                ..function.clone()
            });
        }
        let labels: Vec<String> = curves(&report).into_iter().map(|curve| curve.label).collect();
        assert_eq!(labels.len(), 2 * 5, "{labels:?}");
    }

    #[test]
    fn draws_nothing_out_of_nothing() {
        let mut report = crate::report::sample::report();
        report.functions.clear();
        assert!(matches!(draw(&report, &mut String::new()), Err(PlotError::Empty)));
    }
}
