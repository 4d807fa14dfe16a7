// Type-checks dashboards against Grafana's own types: typecheck.mjs FILE… ; prints what is wrong, one line each.
//
// Each dashboard becomes a TypeScript literal, so that keys nobody knows and values no enumeration has are errors.
// Grafana's types leave the options of panels open; here each panel is held to those of its own kind.

import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import ts from 'typescript';

const KINDS = { bargauge: 'BarGauge', heatmap: 'Heatmap', stat: 'Stat', table: 'Table', timeseries: 'TimeSeries' };

const HEAD = `
import type { Dashboard, Panel, RowPanel, VariableModel, AnnotationQuery, DataSourceRef, FieldConfigSource } from '@grafana/schema';
${Object.entries(KINDS)
  .map(([kind, name]) => `import type * as ${kind} from '@grafana/schema/dist/esm/raw/composable/${kind}/panelcfg/x/${name}PanelCfg_types.gen';`)
  .join('\n')}

// An enumeration of strings is, in JSON, one of its strings.
type Plain<T> = T extends string ? \`\${T}\` : T extends number | boolean | null | undefined ? T
  : T extends Array<infer U> ? Array<Plain<U>> : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;

// What Grafana's data source for Prometheus adds; its types are in no package of their own.
interface Query { refId: string; expr: string; datasource: DataSourceRef; instant: boolean; range: boolean;
  legendFormat?: string; format?: 'time_series' | 'table' | 'heatmap'; exemplar?: boolean; interval?: string }
type Annotation = AnnotationQuery & { expr: string; step: string; titleFormat: string; textFormat: string };
type Variable = VariableModel & { definition?: string };

type Known<O, C> = Omit<Panel, 'options' | 'fieldConfig' | 'targets' | 'type'> & {
  targets: Query[]; options: O; fieldConfig: Omit<FieldConfigSource, 'defaults'> & {
    defaults: Omit<FieldConfigSource['defaults'], 'custom' | 'links'> & {
      custom?: C; links?: Array<{ title: string; url: string; targetBlank: boolean }> } } };
type Kinds =
  | (Known<bargauge.Options, {}> & { type: 'bargauge' })
  | (Known<heatmap.Options, heatmap.FieldConfig> & { type: 'heatmap' })
  | (Known<stat.Options, {}> & { type: 'stat' })
  | (Known<table.Options, table.FieldConfig> & { type: 'table' })
  | (Known<timeseries.Options, timeseries.FieldConfig> & { type: 'timeseries' })
  | RowPanel;
// An override names a property and gives its value.
type Property = Plain<Partial<Omit<FieldConfigSource['defaults'], 'custom' | 'links'>>
  & { links?: Array<{ title: string; url: string; targetBlank: boolean }> }>;
type Board = Plain<Omit<Dashboard, 'panels' | 'templating' | 'annotations'> & {
  panels: Kinds[]; templating: { list: Variable[] }; annotations: { list: Annotation[] } }>;
`;

// What overrides set is of any type to Grafana; here it is held to what the panel's own fields may have.
function overrides(board) {
  return board.panels
    .filter((panel) => panel.fieldConfig?.overrides.length)
    .flatMap((panel) => panel.fieldConfig.overrides.flatMap(({ properties }) => properties.map(({ id, value }) => ({ panel, id, value }))))
    .map(({ panel, id, value }, index) => {
      const custom = id.startsWith('custom.');
      const type = custom ? `Plain<Partial<${panel.type}.FieldConfig>>` : 'Property';
      return `export const o${index}: ${type} = ${JSON.stringify({ [id.replace('custom.', '')]: value })};  // ${panel.title}`;
    });
}

const sources = new Map(
  process.argv.slice(2).map((path) => {
    const json = readFileSync(path, 'utf8');
    const text = `${HEAD}\nexport const board: Board = ${json};\n${overrides(JSON.parse(json)).join('\n')}\n`;
    return [join(import.meta.dirname, `${basename(path)}.ts`), text];
  })
);

const options = {
  strict: true,
  noEmit: true,
  skipLibCheck: true,
  types: [],
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
};
const host = ts.createCompilerHost(options);
const { fileExists, readFile, getSourceFile } = host;
host.fileExists = (path) => sources.has(path) || fileExists(path);
host.readFile = (path) => sources.get(path) ?? readFile(path);
host.getSourceFile = (path, languageVersion, ...rest) =>
  sources.has(path)
    ? ts.createSourceFile(path, sources.get(path), languageVersion)
    : getSourceFile(path, languageVersion, ...rest);

const program = ts.createProgram([...sources.keys()], options, host);
const found = [...program.getOptionsDiagnostics(), ...program.getGlobalDiagnostics()];
for (const path of sources.keys()) {
  found.push(...program.getSyntacticDiagnostics(program.getSourceFile(path)));
  found.push(...program.getSemanticDiagnostics(program.getSourceFile(path)));
}
const shift = HEAD.split('\n').length;
for (const { file, start, messageText } of found) {
  const where = file ? `${basename(file.fileName, '.ts')}:${file.getLineAndCharacterOfPosition(start).line - shift + 1}` : '';
  console.log(`${where}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`);
}
process.exit(found.length ? 1 : 0);
