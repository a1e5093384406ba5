// FeedView (feed.py): draws the rows of a feed as a chat.
//
//   drawMessage(row)           one message: avatar, sender, time, bubble, buttons
//   drawContent(row, isInner)  what is in the bubble, by message type
//   drawList()                 puts the messages on the page, with a line before each new day
//   takeRows(content)          adds rows from the kernel and replaces changed ones
//
// The fields of a row are made in feed_rows.py; the colours are in imkit.css, from .imkit-message on.
const PAGE_ROWS = 200;  // rows on the page at first; scrolling up adds as many of those that the script holds
const AVATAR_COLOURS = ['#8a4b08', '#1f6f54', '#6a3fa0', '#a02c5a', '#205f99', '#5b6b1a', '#9a3412', '#3b5b7a'];

const avatarColour = user => {
    let sum = 0;
    for (const letter of user) sum = (sum * 31 + letter.codePointAt(0)) % 9973;
    return AVATAR_COLOURS[sum % AVATAR_COLOURS.length];
};
// Order of rows: by time, then by message id, which is too large for a number.
const isBefore = (a, b) => a.at !== b.at ? a.at < b.at : BigInt(a.id || 0) < BigInt(b.id || 0);
const minutesAndSeconds = ms => `${Math.floor(ms / 60000)}:${String(Math.floor(ms / 1000) % 60).padStart(2, '0')}`;
const fileSize = bytes => bytes >= 1048576 ? `${(bytes / 1048576).toFixed(1)} MB` : bytes >= 1024 ? `${(bytes / 1024).toFixed(1)} KB` : `${bytes} B`;

export default widgetPart('imkit-feed', ({ model, el, label, listen }) => {
    const timeFormat = dateFormat(model, { hour: '2-digit', minute: '2-digit', hour12: false });
    const dayFormat = dateFormat(model, { weekday: 'short', day: 'numeric', month: 'long', year: 'numeric' });
    const exactFormat = dateFormat(model, { dateStyle: 'full', timeStyle: 'long' });

    let rows = [];                // all rows, in order
    const rowByKey = new Map();
    const nodeByKey = new Map();  // the elements on the page: of rows[firstShown] and later
    const pictures = new Map();   // key -> { url } of bytes in memory, or { error }
    const unpacked = new Map();   // key of a bundle -> rows of its messages
    let firstShown = 0, unseen = 0, editing = null;  // editing: key of the message that is being edited

    // ------------------------------------------------------------- frame

    const name = element('span', { cls: 'imkit-feed-name' });
    const state = element('span', { cls: 'imkit-feed-state' });
    const parent = element('div', { cls: 'imkit-feed-parent', hidden: true });
    const earlierButton = element('button', {
        cls: 'imkit-feed-earlier', type: 'button', text: label('feed_earlier'), hidden: true,
        on: {
            click: () => {
                earlierButton.disabled = true;
                earlierButton.textContent = label('feed_loading');
                model.send({ do: 'earlier' });
            },
        },
    });
    const empty = element('div', { cls: 'imkit-feed-empty', text: label('feed_loading') });
    const list = element('ol');
    const scroller = element('div', { cls: 'imkit-feed-list', tabindex: '0', role: 'log', 'aria-live': 'polite', 'aria-label': label('feed_title') },
        earlierButton, empty, list);
    const newerButton = element('button', { cls: 'imkit-newer', type: 'button', hidden: true, on: { click: () => showEnd() } });
    el.append(element('div', { cls: 'imkit-feed-head' }, name, state, parent), scroller, newerButton);
    el.style.setProperty('--imkit-height', `${model.get('height')}px`);

    // ------------------------------------------------------------- scrolling

    const isAtEnd = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 60;
    const scrollToEnd = () => { scroller.scrollTop = scroller.scrollHeight; };
    const showEnd = () => {
        firstShown = Math.max(rows.length - PAGE_ROWS, 0);
        drawList();
        scrollToEnd();
        unseen = 0;
        newerButton.hidden = true;
    };
    // Run a change that may make rows higher; if the newest row was in view, keep it in view.
    const keepingEnd = change => {
        const wasAtEnd = isAtEnd();
        change();
        if (wasAtEnd) scrollToEnd();
    };
    // A narrower window makes rows higher, too.
    let staysAtEnd = true;
    const resizeObserver = new ResizeObserver(() => { if (staysAtEnd) scrollToEnd(); });
    resizeObserver.observe(scroller);
    scroller.addEventListener('scroll', () => {
        staysAtEnd = isAtEnd();
        if (staysAtEnd) { unseen = 0; newerButton.hidden = true; }
        if (scroller.scrollTop < 80 && firstShown > 0) {
            const heightBefore = scroller.scrollHeight;
            firstShown = Math.max(firstShown - PAGE_ROWS, 0);
            drawList();
            scroller.scrollTop += scroller.scrollHeight - heightBefore;
        }
    });

    // Pictures are asked for when their message comes into view.
    const pictureObserver = new IntersectionObserver(changes => {
        for (const { isIntersecting, target } of changes) {
            if (isIntersecting) {
                pictureObserver.unobserve(target);
                model.send({ do: 'picture', key: target.dataset.key });
            }
        }
    }, { root: scroller, rootMargin: '200px' });

    // ------------------------------------------------------------- drawing a message

    // Ask the kernel for something; the button stays disabled until the message is drawn again (see "done").
    const ask = (row, action, button, more = {}) => {
        if (button) button.disabled = true;
        model.send({ do: action, key: row.key, ...more });
    };
    const askButton = (row, action, key) =>
        element('button', { type: 'button', text: label(key), on: { click: event => ask(row, action, event.target) } });

    const mentioned = user => `@${user === 'ALL' ? label('feed_everybody') : user}`;  // ALL: imkit/quotes.py
    const textOf = row => element('span', { cls: 'imkit-text', text: row.text });
    const quiet = text => element('span', { cls: 'imkit-quiet', text });
    const typeOf = row => quiet(label(`type_${row.type}`));
    const fileLine = (...children) => element('div', { cls: 'imkit-file' }, ...children);

    const drawPicture = row => {
        const picture = pictures.get(row.key);
        if (picture?.url) return element('img', { src: picture.url, alt: row.file_name || label('type_img') });
        const placeholder = quiet(picture?.error ?? `${label('type_img')} ${row.file_name} …`);
        placeholder.dataset.key = row.key;
        if (!picture) pictureObserver.observe(placeholder);
        return placeholder;
    };

    const drawBundle = (row, isInner) => {
        const messages = unpacked.get(row.key);
        const drawInner = inner => element('div', {}, element('b', { text: `${inner.sender}  ` }), ...drawContent(inner, true));
        return [
            fileLine(typeOf(row), textOf(row), isInner ? null : askButton(row, 'unpack', 'feed_open')),
            row.summary ? element('div', { cls: 'imkit-quiet', text: row.summary }) : null,
            messages ? element('div', { cls: 'imkit-inner' }, ...messages.map(drawInner)) : null,
        ];
    };

    // Nodes for what is in the bubble. isInner: a message in a bundle or the parent message, without buttons.
    const drawContent = (row, isInner = false) => {
        const nodes = drawBody(row, isInner).filter(node => node !== null);
        if (row.quote) nodes.unshift(element('div', { cls: 'imkit-quote', text: row.quote }));
        if (row.mentions) nodes.push(element('div', { cls: 'imkit-mentions', text: row.mentions.map(mentioned).join(' ') }));
        if (row.ext) nodes.push(element('details', {}, element('summary', { text: label('feed_ext') }), element('pre', { text: row.ext })));
        return nodes;
    };

    const drawBody = (row, isInner) => {
        const download = isInner ? null : askButton(row, 'download', 'feed_download');
        switch (row.type) {
            case 'txt':
                return [textOf(row)];
            case 'img':
                if (isInner) return [typeOf(row), ` ${row.file_name}`];
                return [drawPicture(row), fileLine(element('bdi', { cls: 'imkit-quiet', text: row.file_name }), download)];
            case 'audio': case 'video': case 'file': {
                const facts = [row.file_size ? fileSize(row.file_size) : '', row.seconds ? `${row.seconds} s` : ''].filter(Boolean);
                return [fileLine(typeOf(row), element('bdi', { cls: 'imkit-text', text: row.file_name }), quiet(facts.join(' · ')), download)];
            }
            case 'loc':
                return [fileLine(typeOf(row), textOf(row), quiet(row.coordinates))];
            case 'combine':
                return drawBundle(row, isInner);
            default:
                return [fileLine(typeOf(row), textOf(row)), row.params ? element('pre', { text: row.params }) : null];
        }
    };

    const drawEditor = row => {
        const text = element('textarea', { rows: '2', 'aria-label': label('feed_edit_label') });
        text.value = row.text;
        const stop = () => { editing = null; redrawMessage(row); };
        const save = () => { editing = null; ask(row, 'edit', null, { text: text.value }); redrawMessage(row); };
        text.addEventListener('keydown', event => {
            if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) { event.preventDefault(); save(); }
            if (event.key === 'Escape') { event.stopPropagation(); stop(); }
        });
        requestAnimationFrame(() => text.focus({ preventScroll: true }));
        return element('div', { cls: 'imkit-editor' }, text, element('div', {},
            element('button', { type: 'button', cls: 'imkit-primary', text: label('save'), on: { click: save } }), ' ',
            element('button', { type: 'button', text: label('cancel'), on: { click: stop } })));
    };

    const drawSender = row => {
        const time = element('time', {
            datetime: new Date(row.at).toISOString(), title: `${exactFormat.format(row.at)} · ${row.id}`, text: timeFormat.format(row.at),
        });
        const times = row.edit_count > 1 ? ` ${row.edit_count}×` : '';
        return element('div', { cls: 'imkit-sender' }, element('b', { text: row.sender }), time,
            row.conversation ? element('bdi', { text: `# ${row.conversation}` }) : null,
            row.edit_count ? element('span', { text: `(${label('feed_edited')}${times})` }) : null);
    };

    // Below the bubble: who recalled the message, or the buttons of an own message that may still be recalled.
    const drawActions = row => {
        if (row.recalled_by) return element('div', { cls: 'imkit-actions imkit-note', text: label('feed_recalled', { who: row.recalled_by }) });
        if (!row.own || row.recallUntil <= Date.now() || editing === row.key) return null;
        const edit = () => { editing = row.key; redrawMessage(row); };
        return element('div', { cls: 'imkit-actions' },
            askButton(row, 'recall', 'feed_recall'),
            row.type === 'txt' ? element('button', { type: 'button', text: label('feed_edit'), on: { click: edit } }) : null,
            element('span', { cls: 'imkit-left', text: label('feed_left', { left: minutesAndSeconds(row.recallUntil - Date.now()) }) }));
    };

    const drawMessage = row => {
        const bubble = element('div', { cls: row.recalled_by ? 'imkit-bubble recalled' : 'imkit-bubble' },
            ...(editing === row.key ? [drawEditor(row)] : drawContent(row)));
        const initial = [...row.sender][0]?.toUpperCase() ?? '?';
        return element('li', { cls: row.own ? 'imkit-message own' : 'imkit-message', 'data-key': row.key },
            element('div', { cls: 'imkit-avatar', 'aria-hidden': 'true', style: `background:${avatarColour(row.sender)}`, text: initial }),
            element('div', { cls: 'imkit-message-body' }, drawSender(row), bubble, drawActions(row)));
    };

    const redrawMessage = row => {
        const node = nodeByKey.get(row?.key);
        if (!node) return;
        const newNode = drawMessage(row);
        node.replaceWith(newNode);
        nodeByKey.set(row.key, newNode);
    };

    const redrawIfShown = key => {
        const row = rowByKey.get(key);
        if (row) keepingEnd(() => redrawMessage(row));
    };

    // ------------------------------------------------------------- drawing the list

    // Make the page show rows[firstShown:], reusing the elements that are there.
    const drawList = () => {
        empty.hidden = rows.length > 0;
        empty.textContent = label('feed_empty');
        const shown = rows.slice(firstShown);
        const shownKeys = new Set(shown.map(row => row.key));
        for (const [key, node] of nodeByKey) if (!shownKeys.has(key)) { node.remove(); nodeByKey.delete(key); }
        for (const line of [...list.querySelectorAll('.imkit-day')]) line.remove();
        let place = list.firstChild, day = '';
        for (const row of shown) {
            const dayOfRow = dayFormat.format(row.at);
            if (dayOfRow !== day) { list.insertBefore(element('li', { cls: 'imkit-day', text: dayOfRow }), place); day = dayOfRow; }
            let node = nodeByKey.get(row.key);
            if (!node) { node = drawMessage(row); nodeByKey.set(row.key, node); }
            if (node === place) place = place.nextSibling;
            else list.insertBefore(node, place);
        }
    };

    // ------------------------------------------------------------- messages from the kernel

    const takeRows = ({ rows: changed, oldest, reset }) => {
        if (reset) { rows = []; rowByKey.clear(); firstShown = 0; list.replaceChildren(); nodeByKey.clear(); }
        const wasAtEnd = reset || isAtEnd();
        const { added, isSorted } = addRows(changed);
        const addedAbove = !reset && !isSorted && rows.length > added;
        const heightBefore = scroller.scrollHeight;
        if (!isSorted) rows.sort((a, b) => a === b ? 0 : isBefore(a, b) ? -1 : 1);
        const dropped = dropRowsBefore({ at: oldest[0], id: oldest[1] });
        if (addedAbove) {  // an earlier page of the history: keep the rows in view where they are
            firstShown = 0;
            drawList();
            scroller.scrollTop += scroller.scrollHeight - heightBefore;
        } else if (wasAtEnd) {
            showEnd();
        } else {
            firstShown = Math.max(firstShown - dropped, 0);
            drawList();
            if (added) {
                unseen += added;
                newerButton.hidden = false;
                newerButton.textContent = `↓ ${label('feed_newer', { n: unseen })}`;
            }
        }
    };

    // Append new rows and replace changed ones; isSorted: all new rows came after the rows before them.
    const addRows = changed => {
        let added = 0, isSorted = true;
        for (const row of changed) {
            row.recallUntil = row.recall_ms ? Date.now() + row.recall_ms : 0;
            const known = rowByKey.get(row.key);
            rowByKey.set(row.key, row);
            if (known) {
                rows[rows.indexOf(known)] = row;
                redrawMessage(row);
            } else {
                if (rows.length && isBefore(row, rows[rows.length - 1])) isSorted = false;
                rows.push(row);
                added += 1;
            }
        }
        return { added, isSorted };
    };

    // Drop the rows that the kernel no longer holds; return how many.
    const dropRowsBefore = oldest => {
        let count = 0;
        while (count < rows.length && isBefore(rows[count], oldest)) count += 1;
        for (const row of rows.splice(0, count)) { rowByKey.delete(row.key); forget(row.key); }
        return count;
    };

    const forget = key => {
        const picture = pictures.get(key);
        if (picture?.url) URL.revokeObjectURL(picture.url);
        pictures.delete(key);
        unpacked.delete(key);
    };

    const showHeader = content => {
        name.textContent = content.name;
        state.textContent = content.state;
        earlierButton.hidden = !content.earlier;
        earlierButton.disabled = false;
        earlierButton.textContent = label('feed_earlier');
        parent.hidden = !content.parent;
        if (!content.parent) return;
        parent.replaceChildren(quiet(`${label('feed_parent')} · `), element('b', { text: `${content.parent.sender}  ` }), ...drawContent(content.parent, true));
    };

    // The kernel sends the bytes of a picture; the page loads nothing from a server.
    const takePicture = (content, buffers) => {
        const row = rowByKey.get(content.key);
        if (!row) return;
        const wasAtEnd = isAtEnd();
        pictures.set(row.key, content.error
            ? { error: content.error }
            : { url: URL.createObjectURL(new Blob([buffers[0]], { type: content.media_type })) });
        redrawMessage(row);
        const image = nodeByKey.get(row.key)?.querySelector('img');
        if (wasAtEnd) { showEnd(); image?.addEventListener('load', scrollToEnd); }
    };

    const receive = (content, buffers) => {
        switch (content.do) {
            case 'rows': takeRows(content); break;
            case 'header': keepingEnd(() => showHeader(content)); break;
            case 'picture': takePicture(content, buffers); break;
            case 'unpacked':
                unpacked.set(content.key, content.rows);
                redrawIfShown(content.key);
                break;
            case 'done':  // an action has ended, perhaps with an error: its button can be used again
                if (editing !== content.key) redrawIfShown(content.key);
                break;
        }
    };

    // Once a second, show the time left for a recall; after that time, draw the message without its buttons.
    const timer = setInterval(() => {
        for (const [key, node] of nodeByKey) {
            const row = rowByKey.get(key);
            if (!row?.recallUntil) continue;
            const left = row.recallUntil - Date.now();
            const shown = node.querySelector('.imkit-left');
            if (left <= 0) { row.recallUntil = 0; if (editing === key) editing = null; redrawMessage(row); }
            else if (shown) shown.textContent = label('feed_left', { left: minutesAndSeconds(left) });
        }
    }, 1000);

    listen('msg:custom', receive);
    model.send({ do: 'open' });
    return () => {
        model.send({ do: 'close' });
        clearInterval(timer);
        pictureObserver.disconnect();
        resizeObserver.disconnect();
        for (const key of [...pictures.keys()]) forget(key);
    };
});
