(() => {
  const shown = element => element.getClientRects().length > 0;
  const pictures = [...document.querySelectorAll("svg")].filter(shown);
  const found = {Wide: document.documentElement.scrollWidth - innerWidth, Pictures: pictures.length, Labels: 0, Arrows: 0, Overlaps: [], Outside: [], Faint: [], Small: []};

  const luminance = colour => {
    const [r, g, b] = colour.match(/[\d.]+/g).slice(0, 3).map(c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x);
    return (high + 0.05) / (low + 0.05);
  };
  // What is painted behind a spot: the first thing below the labels that is filled.
  const behind = (x, y) => {
    for (const element of document.elementsFromPoint(x, y)) {
      if (element.matches("text, tspan")) continue;
      const style = getComputedStyle(element);
      const colour = element.matches("rect, path") ? style.fill : style.backgroundColor;
      if (colour !== "none" && !/, 0\)$/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };

  for (const picture of pictures) {
    const edge = picture.getBoundingClientRect();
    const labels = [...picture.querySelectorAll("text")].map(element => ({element, text: element.textContent, box: element.getBoundingClientRect()}));
    found.Labels += labels.length;
    found.Arrows += [...picture.querySelectorAll("path.talk")].filter(arrow => arrow.getTotalLength() > 10).length;
    labels.forEach(({element, text, box}, at) => {
      if (box.left < edge.left - 0.5 || box.right > edge.right + 0.5 || box.top < edge.top - 0.5 || box.bottom > edge.bottom + 0.5) found.Outside.push(text);
      const size = parseFloat(getComputedStyle(element).fontSize) * element.getScreenCTM().a;
      if (size < 11.5) found.Small.push(`${text}: ${size}`);
      for (const part of [element, ...element.children]) {
        const fill = getComputedStyle(part).fill;
        const spot = part.getBoundingClientRect();
        const backgrounds = [0.02, 0.5, 0.98].map(at => behind(spot.left + spot.width * at, spot.top + spot.height / 2));
        const faint = backgrounds.find(background => contrast(fill, background) < 4.5);
        if (faint) found.Faint.push(`${part.textContent}: ${fill} on ${faint}`);
      }
      for (const other of labels.slice(0, at)) {
        const b = other.box;
        if (box.left < b.right && b.left < box.right && box.top < b.bottom && b.top < box.bottom) found.Overlaps.push(`${text} and ${other.text}`);
      }
    });
  }
  return found;
})()
