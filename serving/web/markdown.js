// A small part of Markdown, as nodes: paragraphs, line breaks, headings, lists, quotes, code, bold, italics, links.
// What is not in it stays the text that it is. Pictures are never fetched.

import { link, make } from "./dom.js";

const INLINE = /`([^`\n]+)`|\*\*([^*\n]+)\*\*|\*([^*\s][^*\n]*)\*|\[([^\]\n]+)\]\((https?:[^)\s]+)\)|(https?:\/\/[^\s<>"')\]]+[^\s<>"')\].,;:!?])/g;

function inline(text) {
  const nodes = [];
  let at = 0;
  for (const found of text.matchAll(INLINE)) {
    const [whole, code, bold, italic, label, url, bare] = found;
    nodes.push(text.slice(at, found.index));
    if (code) nodes.push(make("code", {}, code));
    else if (bold) nodes.push(make("strong", {}, bold));
    else if (italic) nodes.push(make("em", {}, italic));
    else nodes.push(link(label ?? bare, url ?? bare));
    at = found.index + whole.length;
  }
  nodes.push(text.slice(at));
  return nodes.filter((node) => node !== "");
}

const lines = (text) => text.split("\n").flatMap((line, at) => (at ? [make("br"), ...inline(line)] : inline(line)));

const BLOCKS = [
  { line: /^#{1,6}\s+(.*)$/, make: (found) => make("p", {}, make("strong", {}, inline(found[0]))) },
  { line: /^\s*[-*•]\s+(.*)$/, make: (found) => make("ul", {}, found.map((item) => make("li", {}, inline(item)))) },
  { line: /^\s*\d+[.)]\s+(.*)$/, make: (found) => make("ol", {}, found.map((item) => make("li", {}, inline(item)))) },
  { line: /^>\s?(.*)$/, make: (found) => make("blockquote", {}, lines(found.join("\n"))) },
];

/** The nodes of a text. */
export function markdown(text) {
  const nodes = [];
  const rows = text.split("\n");
  while (rows.length) {
    const first = rows[0];
    if (first.startsWith("```")) {
      rows.shift();
      const end = rows.findIndex((row) => row.startsWith("```"));
      const code = rows.splice(0, end < 0 ? rows.length : end);
      rows.shift();
      nodes.push(make("pre", { tabindex: "0" }, make("code", {}, code.join("\n"))));
      continue;
    }
    if (!first.trim()) { rows.shift(); continue; }
    const block = BLOCKS.find((each) => each.line.test(first));
    const found = [];
    if (block) {
      const isHeading = block === BLOCKS[0];
      while (rows.length && block.line.test(rows[0]) && !(isHeading && found.length)) found.push(block.line.exec(rows.shift())[1]);
      nodes.push(block.make(found));
      continue;
    }
    while (rows.length && rows[0].trim() && !rows[0].startsWith("```") && !BLOCKS.some((each) => each.line.test(rows[0]))) found.push(rows.shift());
    nodes.push(make("p", {}, lines(found.join("\n"))));
  }
  return nodes;
}
