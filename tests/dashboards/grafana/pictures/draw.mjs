// Draws dashboards with Grafana's panel components: draw.mjs PROMETHEUS FOLDER SECONDS FILE…
//
// Asks Prometheus what each panel asks, over the last SECONDS, and writes FOLDER/<uid>.png. Prints what went wrong.

import { join } from 'node:path';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { build } from 'esbuild';
import { chromium } from 'playwright-core';
import { smaller } from './palette.mjs';

const [prometheus, folder, seconds, ...files] = process.argv.slice(2);
const WIDE = 1600;
const NOTE = "drawn with Grafana's panel components (@grafana/ui) outside Grafana, with live data of the demo";
const PAGE = 'http://pictures.invalid/';
const BODY = '<!doctype html><meta charset="utf-8"><body style="margin:0"><div id="page"></div></body>';
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];

const to = Date.now() / 1000, from = to - Number(seconds), step = Math.max(1, Math.round(Number(seconds) / 240));
const VALUES = {
  $__rate_interval: `${Math.max(4 * step, 15)}s`, $__range: `${seconds}s`, $__interval: `${step}s`,
  $job: '.+', $instance: '.+', $account: '.+', $model: '.+',
};

// The longest names first, as one begins with another.
const expanded = (query) =>
  Object.keys(VALUES).sort((a, b) => b.length - a.length).reduce((text, name) => text.replaceAll(name, VALUES[name]), query);

async function ask(target) {
  const query = { query: expanded(target.expr), ...(target.range ? { start: from, end: to, step } : { time: to }) };
  const answer = await fetch(`${prometheus}/api/v1/query${target.range ? '_range' : ''}`, {
    method: 'POST', body: new URLSearchParams(query),
  });
  if (!answer.ok) throw new Error(`${target.expr}: ${await answer.text()}`);
  const { resultType, result } = (await answer.json()).data;
  return resultType === 'scalar' ? [{ metric: {}, value: result }] : result;
}

function named(format, metric) {
  if (format && format !== '__auto') return format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => metric[label] ?? '');
  return Object.values(metric).join(' ') || 'Value';
}

// As Grafana's data source for Prometheus makes frames of an answer.
function frames(panel, target, result) {
  if (target.format === 'table') {
    const labels = [...new Set(result.flatMap(({ metric }) => Object.keys(metric)))];
    const name = panel.targets.length > 1 ? `Value #${target.refId}` : 'Value';
    return [{ refId: target.refId, fields: [
      { name: 'Time', type: 'time', values: result.map(({ value }) => value[0] * 1000) },
      ...labels.map((label) => ({ name: label, type: 'string', values: result.map(({ metric }) => metric[label]) })),
      { name, type: 'number', values: result.map(({ value }) => Number(value[1])) },
    ] }];
  }
  return result.map(({ metric, value, values }) => ({ refId: target.refId, legend: named(target.legendFormat, metric), fields: [
    { name: 'Time', type: 'time', values: (values ?? [value]).map(([at]) => at * 1000) },
    { name: 'Value', type: 'number', values: (values ?? [value]).map(([, number]) => Number(number)), labels: metric },
  ] }));
}

// Prometheus leaves out what is not there; a line has gaps where it is not.
function withGaps(frame) {
  const [time, value] = frame.fields, had = new Map(time.values.map((at, index) => [Math.round(at), value.values[index]]));
  const times = Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, index) => Math.round((from + index * step) * 1000));
  return { ...frame, fields: [{ ...time, values: times }, { ...value, values: times.map((at) => had.get(at) ?? null) }] };
}

async function answersOf(board) {
  const answers = {};
  for (const panel of board.panels.filter(({ targets }) => targets)) {
    const all = await Promise.all(panel.targets.map(async (target) => frames(panel, target, await ask(target))));
    answers[panel.id] = panel.type === 'timeseries' ? all.flat().map(withGaps) : all.flat();
  }
  return answers;
}

const bundle = await build({
  entryPoints: [join(import.meta.dirname, 'page.jsx')], bundle: true, write: false, format: 'iife', jsx: 'automatic',
  outdir: '/', define: { 'process.env.NODE_ENV': '"production"', global: 'window' }, logLevel: 'error',
  loader: { '.svg': 'dataurl', '.png': 'dataurl', '.woff2': 'empty', '.ttf': 'empty' },
});
const script = bundle.outputFiles.find(({ path }) => path.endsWith('.js')).text;
const style = bundle.outputFiles.find(({ path }) => path.endsWith('.css')).text;
const profile = mkdtempSync(join(tmpdir(), 'vivix-pictures-'));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, args: FLAGS,
  viewport: { width: WIDE + 24, height: 1000 },
});
let wrong = 0;
try {
  for (const file of files) {
    const board = JSON.parse(readFileSync(file, 'utf8'));
    const answers = await answersOf(board);
    const page = await browser.newPage();
    // As tall as the dashboard, since tables out of sight are not drawn.
    const rows = Math.max(...board.panels.map(({ gridPos }) => gridPos.y + gridPos.h));
    await page.setViewportSize({ width: WIDE + 24, height: rows * 38 + 100 });
    page.on('pageerror', (error) => (console.log(`${board.uid}: ${error}`), wrong++));
    // A page of an address of its own, for it wants to store things; nothing is fetched from anywhere.
    await page.route('**/*', (route) => (route.request().url() === PAGE ? route.fulfill({ contentType: 'text/html', body: BODY }) : route.abort()));
    await page.goto(PAGE);
    await page.addStyleTag({ content: style });
    await page.addScriptTag({ content: script });
    await page.evaluate((input) => window.draw(input), { board, answers, from: from * 1000, to: to * 1000, note: NOTE, wide: WIDE });
    await page.waitForFunction(() => document.querySelector('[data-panel]') && !document.querySelector('[data-ready=false]'));
    await page.waitForTimeout(500);
    for (const problem of await page.evaluate(() => window.problems)) console.log(`${board.uid}: ${problem}`), wrong++;
    const drawn = await page.evaluate(() => document.querySelectorAll('[data-panel]').length);
    if (drawn !== board.panels.filter(({ type }) => type !== 'row').length) console.log(`${board.uid}: ${drawn} panels drawn`), wrong++;
    const picture = await page.locator('#page > *').last().screenshot();
    writeFileSync(join(folder, `${board.uid}.png`), await smaller(page, picture));
    await page.close();
  }
} finally {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
}
process.exit(wrong ? 1 : 0);
