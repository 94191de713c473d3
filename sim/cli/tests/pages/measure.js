// Measures the page in the frame and writes a line for everything that is wrong with it.
const frame = document.getElementById('page');
const place = document.getElementById('wrong');
frame.onload = () => {
  const wrong = [];
  const page = frame.contentDocument;
  const view = frame.contentWindow;
  if (view.performance.getEntriesByType('resource').length > 0) wrong.push('the page asks for something');
  const width = page.documentElement.clientWidth;
  if (page.documentElement.scrollWidth > width) {
    const widest = [...page.querySelectorAll('body *')].filter(e => !e.closest('.scroll') || e.matches('.scroll')).sort((a, b) => b.getBoundingClientRect().right - a.getBoundingClientRect().right)[0];
    wrong.push(`the page is ${page.documentElement.scrollWidth} px wide, and the window ${width}: ${widest.outerHTML.slice(0, 80)}`);
  }
  const shown = element => element.getClientRects().length > 0 && view.getComputedStyle(element).visibility !== 'hidden';
  for (const element of page.querySelectorAll('body *')) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim() !== '');
    if (!own || !shown(element) || element.closest('svg')) continue;
    if (parseFloat(view.getComputedStyle(element).fontSize) < 10) wrong.push(`too small: ${element.textContent.slice(0, 40)}`);
  }
  const plots = [...page.querySelectorAll('svg')].filter(shown);
  const figures = page.querySelectorAll('figure').length;
  if (figures === 0 || plots.length !== figures) wrong.push(`${plots.length} pictures are shown for ${figures} figures`);
  for (const svg of plots) {
    const name = svg.closest('figure').id;
    const inside = svg.getBoundingClientRect();
    const lines = [...svg.querySelectorAll('polyline, polygon, path')];
    if (!lines.some(line => (line.getAttribute('points') || line.getAttribute('d') || '').trim().length > 8)) wrong.push(`${name}: no line is drawn`);
    const scale = svg.getScreenCTM().a;
    const boxes = [];
    for (const text of svg.querySelectorAll('text')) {
      const label = text.textContent.trim();
      if (label === '') continue;
      const size = parseFloat(view.getComputedStyle(text).fontSize) * scale;
      if (size < 10) wrong.push(`${name}: ${label} is ${size.toFixed(1)} px high`);
      const box = text.getBoundingClientRect();
      if (box.left < inside.left - 1 || box.right > inside.right + 1 || box.top < inside.top - 1 || box.bottom > inside.bottom + 1) wrong.push(`${name}: ${label} is cut`);
      for (const [other, known] of boxes) {
        const apart = box.right <= other.left + 1 || other.right <= box.left + 1 || box.bottom <= other.top + 2 || other.bottom <= box.top + 2;
        if (!apart) wrong.push(`${name}: ${label} covers ${known}`);
      }
      boxes.push([box, label]);
    }
  }
  place.textContent = wrong.join('\n');
};
