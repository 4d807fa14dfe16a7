// Draws a dashboard's panels with Grafana's own components, from what Prometheus answered.
//
// This is not Grafana: there are no menus, heatmaps, exemplars or annotations here.

import {
  FieldConfigOptionsRegistry, FieldType, applyFieldOverrides, cacheFieldDisplayNames, createTheme, getFieldDisplayValues, standardTransformers,
  standardTransformersRegistry, toDataFrame, transformDataFrame, ThemeContext, dateTime, LoadingState,
} from '@grafana/data';
import { BarGauge, BigValue, GlobalStyles, PanelChrome, TimeSeries } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { lastValueFrom } from 'rxjs';
import { Component, useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';

const UNIT = 30, GAP = 8;
const theme = createTheme({ colors: { mode: 'dark' } });

// What Grafana's panel of a time series assumes where nothing is said.
const TIME_SERIES = {
  drawStyle: 'line', lineInterpolation: 'linear', lineWidth: 1, fillOpacity: 0, gradientMode: 'none', showPoints: 'auto',
  pointSize: 5, stacking: { mode: 'none', group: 'A' }, axisPlacement: 'auto', axisLabel: '', axisColorMode: 'text',
  axisBorderShow: false, axisCenteredZero: false, scaleDistribution: { type: 'linear' }, spanNulls: false,
  insertNulls: false, hideFrom: { legend: false, tooltip: false, viz: false }, thresholdsStyle: { mode: 'off' },
};

const PROPERTIES = ['unit', 'decimals', 'min', 'max', 'thresholds', 'color', 'links', 'noValue', 'mappings', 'displayName'];
const CUSTOM = [...Object.keys(TIME_SERIES), 'lineStyle', 'align', 'inspect', 'cellOptions', 'width', 'minWidth', 'filterable'];

const registry = new FieldConfigOptionsRegistry(() =>
  [...PROPERTIES.map((id) => [id, false]), ...CUSTOM.map((id) => [id, true])].map(([id, isCustom]) => ({
    id: isCustom ? `custom.${id}` : id, path: id, name: id, isCustom, process: (value) => value, shouldApply: () => true,
    editor: () => null, override: () => null,
  }))
);

const known = new Map(Object.values(standardTransformers).map((one) => [one.id, one]));
standardTransformersRegistry.setInit(() => [...known].map(([id, one]) => ({ id, transformation: async () => one })));

function frame({ refId, fields, legend }) {
  return toDataFrame({
    refId,
    fields: fields.map((field) => ({
      ...field, config: legend && field.type === FieldType.number ? { displayNameFromDS: legend } : {},
    })),
  });
}

async function prepared(panel, frames) {
  const shown = panel.transformations?.length
    ? await lastValueFrom(transformDataFrame(panel.transformations, frames.map(frame)))
    : frames.map(frame);
  const fieldConfig = structuredClone(panel.fieldConfig);
  if (panel.type === 'timeseries') {
    fieldConfig.defaults.custom = { ...TIME_SERIES, ...fieldConfig.defaults.custom };
  }
  delete fieldConfig.defaults.links;
  const data = applyFieldOverrides({
    data: shown, fieldConfig, fieldConfigRegistry: registry, replaceVariables: (text) => text, theme, timeZone: 'utc',
  });
  cacheFieldDisplayNames(data);
  return { data, fieldConfig };
}

function Values({ panel, data, fieldConfig, width, height }) {
  const values = getFieldDisplayValues({
    data, fieldConfig, reduceOptions: panel.options.reduceOptions, replaceVariables: (text) => text, theme, timeZone: 'utc',
  });
  if (panel.type === 'stat') {
    const { colorMode, graphMode, textMode, justifyMode } = panel.options;
    return <BigValue value={values[0].display} {...{ colorMode, graphMode, textMode, justifyMode, width, height, theme }} />;
  }
  const each = Math.min((height - 8 * values.length) / values.length, 60);
  return values.map(({ display, field }, index) => (
    <div key={index} style={{ marginBottom: 8 }}>
      <BarGauge value={display} field={field} display={(value) => ({ ...display, ...field.display?.(value) })} theme={theme}
        width={width} height={each} orientation={panel.options.orientation} displayMode={panel.options.displayMode}
        valueDisplayMode={panel.options.valueMode} namePlacement={panel.options.namePlacement} showUnfilled={true} />
    </div>
  ));
}

function Content({ panel, data, fieldConfig, timeRange, width, height }) {
  if (data.every(({ length }) => length === 0) && panel.type !== 'stat') {
    return <div style={{ padding: 16, opacity: 0.7 }}>{panel.fieldConfig.defaults.noValue ?? 'No data'}</div>;
  }
  switch (panel.type) {
    case 'timeseries':
      return <TimeSeries frames={data} legend={panel.options.legend} timeRange={timeRange} timeZone="utc" {...{ width, height }} />;
    case 'table':
      return <TableNG data={data[0]} structureRev={1} sortBy={panel.options.sortBy} cellHeight={panel.options.cellHeight} {...{ width, height }} />;
    case 'heatmap':
      return <div style={{ padding: 16, opacity: 0.7 }}>A heatmap in Grafana; its component is in no package.</div>;
    default:
      return <Values {...{ panel, data, fieldConfig, width, height }} />;
  }
}

class Guard extends Component {
  state = {};
  static getDerivedStateFromError(error) {
    window.problems.push(`${error}`);
    return { error };
  }
  render() {
    return this.state.error ? <pre>{`${this.state.error}`}</pre> : this.props.children;
  }
}

function Panel({ panel, frames, timeRange, wide }) {
  const [ready, setReady] = useState();
  useEffect(() => {
    if (panel.type === 'row') return;
    prepared(panel, frames).then(setReady, (error) => window.problems.push(`${panel.title}: ${error}`));
  }, []);
  const { x, y, w, h } = panel.gridPos;
  const place = {
    position: 'absolute', left: (x * (wide + GAP)) / 24, top: y * (UNIT + GAP),
    width: (w * (wide + GAP)) / 24 - GAP, height: h * (UNIT + GAP) - GAP,
  };
  if (panel.type === 'row') {
    return <h4 style={{ ...place, lineHeight: `${place.height}px`, margin: 0 }}>⌄ {panel.title}</h4>;
  }
  return (
    <div style={place} data-panel={panel.title} data-ready={ready !== undefined}>
      <PanelChrome title={panel.title} width={place.width} height={place.height} loadingState={LoadingState.Done} padding="md">
        {(width, height) => <Guard>{ready && <Content {...{ panel, timeRange, width, height }} {...ready} />}</Guard>}
      </PanelChrome>
    </div>
  );
}

function Page({ board, answers, from, to, note, wide }) {
  const timeRange = { from: dateTime(from), to: dateTime(to), raw: { from: dateTime(from), to: dateTime(to) } };
  const tall = Math.max(...board.panels.map(({ gridPos }) => gridPos.y + gridPos.h)) * (UNIT + GAP);
  return (
    <div style={{ padding: 12, width: wide + 24, background: theme.colors.background.canvas }}>
      <div style={{ display: 'flex', justifyContent: 'space-between', paddingBottom: 8 }}>
        <strong>{board.title}</strong><span style={{ opacity: 0.7 }}>{note}</span>
      </div>
      <div style={{ position: 'relative', height: tall - GAP }}>
        {board.panels.map((panel) => <Panel key={panel.id} frames={answers[panel.id] ?? []} {...{ panel, timeRange, wide }} />)}
      </div>
    </div>
  );
}

window.problems = [];
window.draw = (input) =>
  createRoot(document.getElementById('page')).render(
    <ThemeContext.Provider value={theme}><GlobalStyles /><Page {...input} /></ThemeContext.Provider>
  );
