'use strict';
(function () {
  const data = JSON.parse(document.getElementById('report-data').textContent);
  const charts = [];
  let colors, font;

  function readStyle() {
    const style = getComputedStyle(document.documentElement);
    const color = name => style.getPropertyValue('--' + name).trim();
    font = getComputedStyle(document.body).fontFamily;
    colors = {
      ink: color('ink'), muted: color('muted'), line: color('line'), surface: color('surface'), heat: color('heat'), cold: color('cold'),
      soft: color('soft'), series: [0, 1, 2, 3, 4, 5, 6, 7].map(i => color('c' + i)),
    };
  }

  const colorOf = subject => colors.series[data.subjects[subject].color];
  // The same digits as in the tables.
  const minus = text => /^-[0.]+$/.test(text) ? text.slice(1) : text.replace('-', '\u2212');
  const number = value => minus(Math.abs(value) >= 1000 ? Math.round(value).toLocaleString('en') : value.toFixed(Math.abs(value) >= 100 ? 1 : 3));
  const tick = value => minus(Number(value.toFixed(3)).toLocaleString('en'));
  const axisText = () => ({ color: colors.muted, fontFamily: font, fontSize: 12, hideOverlap: true });

  function common() {
    return {
      animation: false,
      textStyle: { fontFamily: font, color: colors.ink },
      tooltip: {
        trigger: 'item', confine: true, backgroundColor: colors.surface, borderColor: colors.line, padding: [6, 10],
        textStyle: { color: colors.ink, fontFamily: font, fontSize: 13 },
      },
    };
  }

  function bars(index) {
    const task = data.bars[index];
    const shown = data.subjects.map((subject, i) => ({ i, name: subject.name, score: task.scores[i] }));
    // Room for the longest number behind a whisker that reaches the end.
    const longest = Math.max(5, ...shown.filter(s => s.score).map(s => number(s.score[0]).length));
    return {
      height: 46 + 34 * shown.length,
      option: Object.assign(common(), {
        grid: { left: 0, right: 14 + 8 * longest, top: 4, bottom: 0, containLabel: true },
        xAxis: {
          type: 'value', axisLabel: Object.assign(axisText(), { formatter: tick }), splitLine: { lineStyle: { color: colors.line } },
          min: task.axis.low, max: task.axis.high, interval: task.axis.step,
        },
        yAxis: {
          type: 'category', inverse: true, data: shown.map(s => s.name), axisTick: { show: false }, axisLine: { show: false },
          axisLabel: Object.assign(axisText(), { width: 110, overflow: 'truncate' }),
        },
        series: [
          {
            type: 'bar', barWidth: 14, name: task.metric,
            label: { show: false },
            data: shown.map(s => ({
              value: s.score ? s.score[0] : 0, itemStyle: { color: colorOf(s.i), borderRadius: [0, 3, 3, 0] },
            })),
            tooltip: {
              formatter: item => {
                const score = shown[item.dataIndex].score;
                return score ? echarts.format.encodeHTML(shown[item.dataIndex].name) + '<br>' + number(score[0])
                  + (score[1] === null ? ', recorded' : ' (' + number(score[1]) + ' to ' + number(score[2]) + ')') : 'not measured';
              },
            },
          },
          {
            type: 'custom', silent: true, z: 5,
            data: shown.filter(s => s.score).map(s => [s.i, s.score[1] ?? s.score[0], s.score[2] ?? s.score[0], s.score[0]]),
            renderItem: (params, api) => {
              const low = api.coord([api.value(1), api.value(0)]);
              const high = api.coord([api.value(2), api.value(0)]);
              const style = { stroke: colors.ink, lineWidth: 1.4 };
              const stroke = (x1, y1, x2, y2) => ({ type: 'line', shape: { x1, y1, x2, y2 }, style });
              const y = low[1];
              return {
                type: 'group',
                children: [
                  ...(low[0] === high[0] ? [] : [
                    stroke(low[0], y, high[0], y), stroke(low[0], y - 4, low[0], y + 4), stroke(high[0], y - 4, high[0], y + 4)]),
                  {
                    type: 'text',
                    style: { x: high[0] + 7, y, text: number(api.value(3)), fill: colors.ink, font: '600 12px ' + font, verticalAlign: 'middle' },
                  },
                ],
              };
            },
            encode: { x: [1, 2], y: 0 },
          },
        ],
      }),
    };
  }

  // A mean over neighbours on both sides: no lag.
  function smooth(values) {
    const reach = Math.round(values.length / 50);
    return values.map((_, i) => {
      const near = Math.min(reach, i, values.length - 1 - i);
      let sum = 0;
      for (let j = i - near; j <= i + near; j++)
        sum += values[j];
      return sum / (2 * near + 1);
    });
  }

  // The first steps would flatten all that follows: the picture ends above nearly all points.
  function top(curves) {
    const sorted = curves.flatMap(c => c.y).sort((a, b) => a - b);
    const high = sorted[Math.floor(0.96 * (sorted.length - 1))];
    const most = sorted[sorted.length - 1];
    return most > 1.6 * high && high > 0 ? Number((1.1 * high).toPrecision(2)) : null;
  }

  function lines(curves, withSmooth, held = []) {
    const points = (xs, ys) => xs.map((x, i) => [x, ys[i]]);
    return {
      height: 300,
      option: Object.assign(common(), {
        tooltip: Object.assign(common().tooltip, {
          trigger: 'axis', axisPointer: { lineStyle: { color: colors.muted } }, valueFormatter: value => number(value),
        }),
        grid: { left: 4, right: 16, top: curves.length > 1 ? 34 : 14, bottom: 4, containLabel: true },
        legend: {
          type: 'scroll', show: curves.length > 1, left: 0, top: 0, icon: 'roundRect', itemWidth: 18, itemHeight: 3,
          textStyle: { color: colors.ink, fontFamily: font, lineHeight: 20 }, data: curves.map(c => data.subjects[c.subject].name),
        },
        xAxis: {
          type: 'value', min: 'dataMin', max: 'dataMax', axisLabel: axisText(), splitLine: { show: false },
          axisLine: { lineStyle: { color: colors.line } }, axisPointer: { label: { show: false } },
        },
        yAxis: {
          type: 'value', min: 0, max: withSmooth ? top(curves) : null, axisLabel: Object.assign(axisText(), { formatter: tick, showMaxLabel: !withSmooth }),
          splitLine: { lineStyle: { color: colors.line } },
        },
        series: curves.flatMap(c => {
          const name = data.subjects[c.subject].name;
          const base = { type: 'line', showSymbol: c.x.length < 3, symbolSize: 7, itemStyle: { color: colorOf(c.subject) } };
          const strong = Object.assign({}, base, {
            name, z: 3, lineStyle: { width: 2.25, color: colorOf(c.subject) }, data: points(c.x, withSmooth ? smooth(c.y) : c.y),
          });
          const thin = Object.assign({}, base, {
            name: name + ' as logged', silent: true, z: 2, tooltip: { show: false },
            lineStyle: { width: 1, opacity: 0.3, color: colorOf(c.subject) }, data: points(c.x, c.y),
          });
          return withSmooth ? [thin, strong] : [strong];
        }).concat(held.map(c => ({
          type: 'line', name: data.subjects[c.subject].name + ', held-out rows', z: 4, symbol: 'circle', symbolSize: 8, showSymbol: true,
          itemStyle: { color: colors.surface, borderColor: colorOf(c.subject), borderWidth: 2 },
          lineStyle: { width: 1.5, type: 'dashed', color: colorOf(c.subject) }, data: points(c.x, c.y),
        }))),
      }),
    };
  }

  // One line an adapter; colours that come again have other dashes.
  function profile(index) {
    const { across, high, curves } = data.profiles[index];
    const few = new Set(curves.flatMap(c => c.x)).size <= 3;
    const dashes = ['solid', 'dashed', 'dotted'];
    const round = data.subjects.map((subject, i) => data.subjects.slice(0, i).filter(other => other.color === subject.color).length);
    const made = lines(curves, false);
    Object.assign(made.option.yAxis, { max: high });
    Object.assign(made.option.xAxis, {
      min: across === 'layer' || across === 'step' || across === 'tokens' ? 'dataMin' : 0, name: across, nameLocation: 'middle', nameGap: 24, nameTextStyle: axisText(),
      axisLabel: Object.assign(axisText(), { formatter: tick, showMinLabel: true, showMaxLabel: true }),
      ...(across === 'layer' ? { minInterval: 1 } : across === 'tokens' ? { type: 'log', logBase: 4 } : {}),
    });
    made.option.grid.bottom = 22;
    made.option.series.forEach((series, i) => {
      series.lineStyle.type = dashes[round[curves[i].subject] % dashes.length];
      series.showSymbol ||= few;
    });
    return made;
  }

  // A scale of three colours that keeps the middle one over the middle eighth: what is nearly even looks even.
  function palette() {
    const parse = color => /^#/.test(color) ? [1, 3, 5].map(i => parseInt(color.slice(i, i + 2), 16)) : color.match(/[\d.]+/g).slice(0, 3).map(Number);
    const mix = (from, to, share) => 'rgb(' + from.map((c, i) => Math.round(c + (to[i] - c) * share)).join(',') + ')';
    const [cold, soft, hot] = [parse(colors.cold), parse(colors.soft), parse(colors.heat)];
    return Array.from({ length: 65 }, (_, i) => {
      const away = Math.max(0, Math.abs(i / 32 - 1) - 0.125) / 0.875;
      return mix(soft, i < 32 ? cold : hot, away);
    });
  }

  function heat(rows, rowNames, low, high, columnNames = null) {
    const columns = Math.max(0, ...rows.map(row => row.length));
    const names = columnNames ?? Array.from({ length: columns }, (_, e) => 'e' + e);
    const withText = columns <= 12 && rows.length <= 40;
    const strong = value => Math.abs(value - (low + high) / 2) > 0.33 * (high - low);
    return {
      height: (columnNames ? 76 : 40) + Math.max(16, Math.min(30, 480 / rows.length)) * rows.length,
      option: Object.assign(common(), {
        grid: { left: 0, right: 0, top: 2, bottom: 0, containLabel: true },
        xAxis: {
          type: 'category', data: names,
          axisLabel: Object.assign(axisText(), columnNames ? { rotate: 30, interval: 0, width: 80, overflow: 'truncate' } : {}), axisTick: { show: false },
          axisLine: { show: false }, splitArea: { show: false },
        },
        yAxis: {
          type: 'category', inverse: true, data: rowNames, axisTick: { show: false }, axisLine: { show: false },
          axisLabel: Object.assign(axisText(), { width: 96, overflow: 'truncate' }),
        },
        visualMap: { show: false, min: low, max: high, inRange: { color: palette() } },
        series: [{
          type: 'heatmap', itemStyle: { borderColor: colors.surface, borderWidth: 2, borderRadius: 3 }, emphasis: { disabled: true },
          label: { show: withText, fontFamily: font, fontSize: 11, formatter: item => minus(item.value[2].toFixed(2)) },
          data: rows.flatMap((row, y) => row.map((value, x) => ({
            value: [x, y, value], label: { color: strong(value) ? colors.surface : colors.ink },
          }))),
          tooltip: {
            formatter: item => echarts.format.encodeHTML(rowNames[item.value[1]] + ', ' + names[item.value[0]]) + ': ' + minus(item.value[2].toFixed(2)),
          },
        }],
      }),
    };
  }

  // From nothing to twice the even share, the same for every adapter: what is near the even share stays gray.
  function shares(rows, rowNames) {
    const even = 1 / Math.max(1, ...rows.map(row => row.length));
    return heat(rows, rowNames, 0, 2 * even);
  }

  const kinds = {
    bars,
    loss: () => lines(
      data.training.map(c => ({ subject: c.subject, x: c.step, y: c.loss })), true,
      data.training.filter(c => c.eval_step.length > 0).map(c => ({ subject: c.subject, x: c.eval_step, y: c.eval_loss }))),
    profile,
    layers: index => {
      const layers = data.routing[index].layers;
      return shares(layers.map(layer => layer.load), layers.map(layer => 'layer ' + layer.layer));
    },
    tasks: index => shares(data.routing[index].by_task, data.routing[index].tasks),
    similarity: index => {
      const rows = data.routing[index].similarity;
      return heat(rows, rows.map((_, e) => 'e' + e), -1, 1);
    },
    distance: index => heat(data.routing[index].task_distance, data.routing[index].tasks, -1, 1, data.routing[index].tasks),
  };

  function draw() {
    readStyle();
    charts.splice(0).forEach(chart => chart.dispose());
    document.querySelectorAll('.chart').forEach(element => {
      const made = kinds[element.dataset.chart](Number(element.dataset.index || 0));
      element.style.height = made.height + 'px';
      const chart = echarts.init(element, null, { renderer: 'svg' });
      chart.setOption(made.option);
      charts.push(chart);
    });
  }

  // Tables that go on beyond the edge say so.
  function mark() {
    document.querySelectorAll('.scroll').forEach(area => area.classList.toggle('wide', area.scrollWidth > area.clientWidth + 1));
  }

  draw();
  mark();
  document.querySelectorAll('details').forEach(details => details.addEventListener('toggle', mark));
  // At once, before the page is painted: a picture of it never shows charts of the width before.
  new ResizeObserver(() => { charts.forEach(chart => chart.resize()); mark(); }).observe(document.querySelector('main'));
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
  addEventListener('beforeprint', () => { document.documentElement.classList.add('printing'); draw(); });
  addEventListener('afterprint', () => { document.documentElement.classList.remove('printing'); draw(); });
})();
