// Holds dashboards against Grafana's registries: registries.cjs FILE… ; prints what is wrong, one line each.
//
// Units, reducers, matchers, colours, transformations and variables of links are names that no type knows. The
// transformations of tables are carried out on frames such as Prometheus' data source makes of the queries.

globalThis.navigator = { language: 'en', languages: ['en'], userAgent: 'node' };

const { readFileSync } = require('node:fs');
const { basename } = require('node:path');
const grafana = require('@grafana/data');

// Only now: while it is being loaded, a window would be taken for a browser.
globalThis.window = {};

const units = new Set(grafana.getValueFormats().flatMap((group) => group.submenu.map((format) => format.value)));
const colours = grafana.createTheme().visualization.hues.flatMap((hue) => hue.shades.map((shade) => shade.name));
const known = {
  unit: (id) => units.has(id) || /^(suffix|prefix|count):./.test(id),
  reducer: (id) => grafana.fieldReducers.getIfExists(id) !== undefined,
  matcher: (id) => grafana.fieldMatchers.getIfExists(id) !== undefined,
  'colour mode': (id) => grafana.fieldColorModeRegistry.getIfExists(id) !== undefined,
  colour: (name) => ['transparent', 'text', ...colours].includes(name) || /^#[0-9a-f]{6}$/i.test(name),
  transformation: (id) => grafana.standardTransformersRegistry.getIfExists(id) !== undefined,
  variable: (name) => Object.values(grafana.DataLinkBuiltInVars).includes(name) || name === '__all_variables',
};
// One transformation is listed under its former name as well, with the same id.
const transformations = new Map(Object.values(grafana.standardTransformers).map((one) => [one.id, one]));
grafana.standardTransformersRegistry.setInit(() =>
  [...transformations].map(([id, one]) => ({ id, transformation: async () => one }))
);

const wrong = [];

function check(where, kind, id) {
  if (!known[kind](id)) {
    wrong.push(`${where}: ${JSON.stringify(id)} is no ${kind}`);
  }
}

function checkField(where, { unit, color, thresholds, links, mappings }) {
  if (unit !== undefined) check(where, 'unit', unit);
  if (color?.mode) check(where, 'colour mode', color.mode);
  if (color?.fixedColor) check(where, 'colour', color.fixedColor);
  for (const step of thresholds?.steps ?? []) check(where, 'colour', step.color);
  for (const { type, options } of mappings ?? [])
    for (const result of type === 'value' ? Object.values(options) : [options.result])
      check(where, 'colour', result.color);
  for (const link of links ?? [])
    for (const [, name] of link.url.matchAll(/\$\{([\w.]+)\}/g)) check(where, 'variable', name);
}

function frames(panel) {
  const labels = Object.keys(panel.transformations.find(({ id }) => id === 'organize').options.renameByName);
  return panel.targets.map(({ refId }) =>
    grafana.toDataFrame({
      refId,
      fields: [
        { name: 'Time', type: 'time', values: [1] },
        ...labels.filter((name) => !name.startsWith('Value')).map((name) => ({ name, type: 'string', values: ['a'] })),
        { name: panel.targets.length > 1 ? `Value #${refId}` : 'Value', type: 'number', values: [1] },
      ],
    })
  );
}

async function checkTable(where, panel) {
  const expected = Object.values(panel.transformations.find(({ id }) => id === 'organize').options.renameByName);
  const shown = await new Promise((resolve, reject) =>
    grafana.transformDataFrame(panel.transformations, frames(panel)).subscribe({ next: resolve, error: reject })
  );
  const names = shown.flatMap((frame) => frame.fields.map((field) => grafana.getFieldDisplayName(field, frame)));
  if (shown.length !== 1 || shown[0].length !== 1 || names.join() !== expected.join()) {
    wrong.push(`${where}: the table shows ${names.join(', ')} in place of ${expected.join(', ')}`);
  }
}

async function main() {
  for (const path of process.argv.slice(2)) {
    const board = JSON.parse(readFileSync(path, 'utf8'));
    for (const panel of board.panels.filter(({ type }) => type !== 'row')) {
      const where = `${basename(path)}: ${panel.title}`;
      checkField(where, panel.fieldConfig.defaults);
      for (const reducer of [...(panel.options.reduceOptions?.calcs ?? []), ...(panel.options.legend?.calcs ?? [])])
        check(where, 'reducer', reducer);
      for (const { matcher, properties } of panel.fieldConfig.overrides) {
        check(where, 'matcher', matcher.id);
        checkField(where, Object.fromEntries(properties.map(({ id, value }) => [id, value])));
      }
      const before = wrong.length;
      for (const { id } of panel.transformations ?? []) check(where, 'transformation', id);
      if (panel.transformations && wrong.length === before) await checkTable(where, panel);
    }
    for (const annotation of board.annotations.list) check(`${basename(path)}: ${annotation.name}`, 'colour', annotation.iconColor);
  }
  wrong.forEach((line) => console.log(line));
  process.exit(wrong.length ? 1 : 0);
}

main();
