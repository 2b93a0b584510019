// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Puts the page together: build.mjs NPM-FOLDER OUT.html OUT.csp
 *
 * Everything goes into one file, and what may run or style it is named by its hash, so that nothing
 * that gets into the page later (a VM's name, say) can. No minifying: an operator may read what
 * runs.
 */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const [npm, outHtml, outCsp] = process.argv.slice(2);
if (!outCsp) {
	console.error('usage: build.mjs NPM-FOLDER OUT.html OUT.csp');
	process.exit(2);
}

const own = (name) => readFileSync(join(here, name), 'utf8');
const uplot = (name) => readFileSync(join(npm, 'node_modules/uplot', name), 'utf8');
const hash = (text) => `'sha256-${createHash('sha256').update(text, 'utf8').digest('base64')}'`;

/*
 * An end tag inside would end the element early, and a comment mark changes how a script is read.
 */
function inline(tag, text) {
	if (/<\/(script|style)|<!--/i.test(text))
		throw new Error(`a ${tag} to embed contains an end tag or a comment mark`);
	return { html: `<${tag}>${text}</${tag}>`, hash: hash(text) };
}

const style = inline('style', `\n${uplot('dist/uPlot.min.css')}\n${own('page.css')}`);
const scripts = [
	uplot('dist/uPlot.iife.min.js'),
	own('format.js'),
	own('model.js'),
	own('charts.js'),
	own('page.js'),
].map((text) => inline('script', `\n${text}`));

const slots = {
	'<!-- licence of uPlot -->': `<!--\nuPlot, embedded below:\n\n${uplot('LICENSE').trim()}\n-->`,
	'<!-- style -->': style.html,
	'<!-- scripts -->': scripts.map((s) => s.html).join('\n'),
};
let html = own('index.html');
for (const [slot, text] of Object.entries(slots)) {
	if (html.split(slot).length !== 2) throw new Error(`index.html must have ${slot} once`);
	html = html.replace(slot, () => text);
}

const csp = [
	"default-src 'none'",
	`script-src ${scripts.map((s) => s.hash).join(' ')}`,
	`style-src ${style.hash}`,
	"connect-src 'self'",
	'img-src data:',
	"base-uri 'none'",
	"form-action 'none'",
	"frame-ancestors 'none'",
].join('; ');

writeFileSync(outHtml, html);
/* One header value, and no newline after it: it is sent as it is. */
writeFileSync(outCsp, csp);
