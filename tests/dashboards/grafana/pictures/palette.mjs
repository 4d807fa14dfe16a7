// A PNG of at most 256 colours from the pixels of a picture, so that committed pictures stay small.

import * as zlib from 'node:zlib';

const MOST = 256;
const TABLE = Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1;
  return byte >>> 0;
});
// Node 18 has no crc32 of its own.
const crc32 = zlib.crc32 ?? ((bytes) => ~bytes.reduce((crc, byte) => TABLE[(crc ^ byte) & 255] ^ (crc >>> 8), ~0) >>> 0);

function chunk(name, data) {
  const body = Buffer.concat([Buffer.from(name, 'latin1'), data]), size = Buffer.alloc(4), check = Buffer.alloc(4);
  size.writeUInt32BE(data.length);
  check.writeUInt32BE(crc32(body) >>> 0);
  return Buffer.concat([size, body, check]);
}

const distance = (a, b) => ((a >> 16) - (b >> 16)) ** 2 + (((a >> 8) & 255) - ((b >> 8) & 255)) ** 2 + ((a & 255) - (b & 255)) ** 2;

// Thin lines have few pixels and bright colours, while shades of grey are many.
const vivid = (colour) => {
  const parts = [colour >> 16, (colour >> 8) & 255, colour & 255];
  return Math.max(...parts) - Math.min(...parts);
};

// The most frequent colours stay as they are, half of them of all and half of the bright ones; each other one becomes
// the nearest of them.
function chosen(counts) {
  const often = [...counts].sort((a, b) => b[1] - a[1]).map(([colour]) => colour);
  const all = often.slice(0, MOST / 2), bright = often.slice(MOST / 2).filter((colour) => vivid(colour) > 60);
  return [...all, ...bright.slice(0, MOST / 2)];
}

export function png(rgba, width, height) {
  const counts = new Map(), colours = new Uint32Array(width * height);
  for (let pixel = 0; pixel < colours.length; pixel++) {
    colours[pixel] = (rgba[4 * pixel] << 16) | (rgba[4 * pixel + 1] << 8) | rgba[4 * pixel + 2];
    counts.set(colours[pixel], (counts.get(colours[pixel]) ?? 0) + 1);
  }
  const palette = chosen(counts);
  const indices = new Map(palette.map((colour, index) => [colour, index]));
  for (const colour of counts.keys()) {
    if (!indices.has(colour)) indices.set(colour, palette.reduce((best, other, index) => (distance(other, colour) < distance(palette[best], colour) ? index : best), 0));
  }
  const rows = Buffer.alloc((width + 1) * height);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) rows[y * (width + 1) + 1 + x] = indices.get(colours[y * width + x]);
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 3, 0, 0, 0], 8);
  const table = Buffer.from(palette.flatMap((colour) => [colour >> 16, (colour >> 8) & 255, colour & 255]));
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([signature, chunk('IHDR', header), chunk('PLTE', table), chunk('IDAT', zlib.deflateSync(rows, { level: 9 })), chunk('IEND', Buffer.alloc(0))]);
}

// The same picture, taken apart by the browser and put together again.
export async function smaller(page, picture) {
  const { data, width, height } = await page.evaluate(async (base64) => {
    const image = await createImageBitmap(await (await fetch(`data:image/png;base64,${base64}`)).blob());
    const context = new OffscreenCanvas(image.width, image.height).getContext('2d');
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, image.width, image.height).data;
    let text = '';
    for (let start = 0; start < pixels.length; start += 32768) text += String.fromCharCode(...pixels.subarray(start, start + 32768));
    return { data: btoa(text), width: image.width, height: image.height };
  }, picture.toString('base64'));
  return png(Buffer.from(data, 'base64'), width, height);
}
